"""Floating-point operations of a training step, counted from its products.

Every matrix product, convolution and Fourier transform of the loss and of its
gradient is counted from the shapes it is traced with; the layer is the one
whose name scope it is in. Left out is what is small beside them: element-wise
work, the loss's own recursion, the optimizer's few operations a weight. Ops
that may hold products and are not known here are named.

The compiler's own figure is lower where the program has loops, whose body it
counts once.

Internals used: `Graph._functions`, and what a while loop's second input is.
"""

import collections
import math
import re
from typing import Any

import tensorflow as tf

from launch.plan import layers
from tf_pcc.training import PerCoreModel


def of_step(
  model: PerCoreModel, data: tuple[Any, Any]
) -> tuple[dict[str, int], list[str]]:
  """Operations of one core's step, by layer.

  Args:
    model: built `tf_pcc.PerCoreModel`.
    data: (x, y), nested structures of `tf.TensorSpec` of static shape.

  Returns:
    dict from the layer, or "loss", to the operations of the products in it and
    in the gradient of it; a multiplication and an addition count two. And a
    sorted list of the kinds of ops that were not counted and may hold products.

  Raises:
    ValueError: If a loop whose iterations are not known holds a product.
  """

  @tf.function(autograph=False)
  def gradients(x, y):
    with tf.GradientTape() as tape:
      outputs = model(x, training=True)
      with tf.name_scope("loss"):
        loss = model.compute_loss(x, y, outputs)
    # A layer's gradient keeps the layer's scope; a loss's own may have none.
    with tf.name_scope("loss"):
      found = tape.gradient(loss, model.trainable_variables)
    return [gradient for gradient in found if gradient is not None]

  return of_graph(gradients.get_concrete_function(*data).graph)


def of_graph(
  graph: tf.Graph, caller: str | None = None
) -> tuple[dict[str, int], list[str]]:
  """Operations of a graph and of the functions it calls, by layer.

  Args:
    graph: `tf.Graph` with static shapes.
    caller: the layer that calls the graph, if it is a function's.

  Returns:
    dict and list as `of_step`'s.

  Raises:
    ValueError: If a loop whose iterations are not known holds a product.
  """
  found, unknown = collections.Counter(), set()
  for op in graph.get_operations():
    layer = layers.of(op.name, caller)
    times, bodies = 1, ()
    if op.type in _COUNTERS:
      found[layer] += _COUNTERS[op.type](op)
    elif op.type in ("While", "StatelessWhile"):
      bodies = [_body(op, op.get_attr("body"), layer)]
      times = _iterations(op) if bodies[0][0] else 1
    elif op.type in ("PartitionedCall", "StatefulPartitionedCall"):
      bodies = [_body(op, op.get_attr("f"), layer)]
    elif op.type in ("If", "StatelessIf"):
      names = (op.get_attr("then_branch"), op.get_attr("else_branch"))
      bodies = [_body(op, name, layer) for name in names]
    elif op.type in ("Case", "StatelessCase"):
      bodies = [_body(op, name, layer) for name in op.get_attr("branches")]
    elif _may_multiply(op):
      unknown.add(op.type)
    if bodies:
      # Of branches the dearest.
      inner = max((b[0] for b in bodies), key=lambda b: sum(b.values()))
      found.update({k: v * times for k, v in inner.items()})
      unknown.update(*(b[1] for b in bodies))
  return dict(found), sorted(unknown)


def _body(op, function, layer):
  """What `of_graph` finds in the function that an op calls."""
  graph = op.graph
  while function.name not in graph._functions:
    graph = graph.outer_graph
  function = graph._functions[function.name]
  if hasattr(function, "graph"):
    return of_graph(function.graph, layer)
  # Such as the loops of tf.nn.ctc_loss: a function of TensorFlow 1.
  nodes = function.definition.node_def
  if any(node.op in _COUNTERS for node in nodes):
    raise ValueError(
      "The products in a function of TensorFlow 1 cannot be counted. "
      f"Received: {op.name}"
    )
  return {}, []


def _may_multiply(op):
  """Whether an op without a counter may be more than element-wise work."""
  calls = any(
    attr.HasField("func") or attr.list.func
    for attr in op.node_def.attr.values()
  )
  return calls or bool(_SUSPECTS.search(op.type))


def _iterations(op):
  """Iterations of a loop: TensorFlow keeps their bound in its second input."""
  bound = op.inputs[1]
  if bound.op.type in ("While", "StatelessWhile"):
    # The gradient's loop counts down what the forward loop counted up.
    return _iterations(bound.op)
  if bound.op.type == "Max":
    bound = bound.op.inputs[0]
  value = tf.get_static_value(bound)
  if value is None or value < 0:
    raise ValueError(
      "The operations of a loop can be counted only if it has "
      f"maximum_iterations, a number. Received: {op.name}"
    )
  return int(value)


def _product(inner):
  """Counter of an op each of whose results adds up `inner(op)` products."""

  def count(op):
    return 2 * math.prod(op.outputs[0].shape.as_list()) * inner(op)

  return count


def _contracted(op, transposed):
  axis = -2 if op.get_attr(transposed) else -1
  return op.inputs[0].shape[axis]


def _einsum(op):
  sizes = {}
  terms = op.get_attr("equation").decode().split("->")[0].split(",")
  for term, tensor in zip(terms, op.inputs):
    sizes.update(zip(term.replace("...", ""), tensor.shape[-len(term) :]))
  # A single operand is only summed or transposed.
  return 2 * math.prod(sizes.values()) if len(terms) > 1 else 0


def _convolution(kernel, outputs, depthwise=False):
  """Counter of a convolution, forward or for a gradient.

  Args:
    kernel: function of the op to the kernel's shape, [height, width, in, out].
    outputs: function of the op to the shape of the forward op's result.
    depthwise: bool, whether each channel has its own kernels.
  """

  def count(op):
    height, width, inputs, _ = kernel(op).as_list()
    reach = height * width * (1 if depthwise else inputs)
    return 2 * math.prod(outputs(op).as_list()) * reach

  return count


def _input(number):
  return lambda op: op.inputs[number].shape


def _output(op):
  return op.outputs[0].shape


def _fourier(op):
  """The usual count of a real transform of N numbers, 2.5 N log2 N."""
  size = int(tf.get_static_value(op.inputs[1])[0])
  batch = math.prod(op.outputs[0].shape.as_list()[:-1])
  return round(batch * 2.5 * size * math.log2(size))


_SUSPECTS = re.compile(
  "MatMul|MatrixS|MatrixI|MatrixE|Conv(?!ert)|Einsum|RNN|LSTM|GRU|FFT|Cholesky"
  "|Svd|Qr|Eig|Determinant|Xla|Custom|PyFunc|Correlation"
)
_COUNTERS = {
  "RFFT": _fourier,
  "MatMul": _product(lambda op: _contracted(op, "transpose_a")),
  "BatchMatMul": _product(lambda op: _contracted(op, "adj_x")),
  "BatchMatMulV2": _product(lambda op: _contracted(op, "adj_x")),
  "Einsum": _einsum,
}
for _name, _depthwise in (("Conv2D", False), ("DepthwiseConv2dNative", True)):
  _COUNTERS |= {
    _name: _convolution(_input(1), _output, _depthwise),
    f"{_name}BackpropInput": _convolution(_input(1), _input(2), _depthwise),
    f"{_name}BackpropFilter": _convolution(_output, _input(2), _depthwise),
  }

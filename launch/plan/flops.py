"""Floating-point operations of a training step, counted from its products.

Every matrix product and convolution of the loss and of its gradient is counted
from the shapes it is traced with; the layer is the one whose name scope it is
in. Left out is what is small beside them: element-wise work, the loss's own
recursion, Fourier transforms, the optimizer's few operations a weight.

The compiler's own figure is lower where the program has loops, whose body it
counts once.

Internals used: `Graph._functions`, and what a while loop's second input is.
"""

import collections
import itertools
import math
import re

import tensorflow as tf


def of_step(model, data):
  """Operations of one core's step, by layer.

  Args:
    model: built `tf_pcc.PerCoreModel`.
    data: (x, y), nested structures of `tf.TensorSpec` of static shape.

  Returns:
    dict from the layer to the operations of the products in it and in the
    gradient of it; a multiplication and an addition count two.

  Raises:
    ValueError: when a loop whose iterations are not known holds a product.
  """

  @tf.function(autograph=False)
  def gradients(x, y):
    with tf.GradientTape() as tape:
      loss = model.compute_loss(x, y, model(x, training=True))
    return [
      g for g in tape.gradient(loss, model.trainable_variables) if g is not None
    ]

  return of_graph(gradients.get_concrete_function(*data).graph)


def of_graph(graph):
  """Operations of a graph and of the functions it calls, by layer.

  Args:
    graph: `tf.Graph` with static shapes.

  Returns:
    dict as `of_step`'s.

  Raises:
    ValueError: as `of_step`.
  """
  found = collections.Counter()
  for op in graph.get_operations():
    if op.type in _COUNTERS:
      found[_layer(op.name)] += _COUNTERS[op.type](op)
    elif op.type in ("While", "StatelessWhile"):
      inner = _body(op, "body")
      if inner:
        times = _iterations(op)
        found.update({k: v * times for k, v in inner.items()})
    elif op.type in ("PartitionedCall", "StatefulPartitionedCall"):
      found.update(_body(op, "f"))
  return dict(found)


def _body(op, attr):
  """What `of_graph` finds in the function that an op calls."""
  name = op.get_attr(attr).name
  graph = op.graph
  while name not in graph._functions:
    graph = graph.outer_graph
  function = graph._functions[name]
  if hasattr(function, "graph"):
    return of_graph(function.graph)
  # The loops of tf.nn.ctc_loss are functions of TensorFlow 1.
  nodes = function.definition.node_def
  if any(node.op in _COUNTERS for node in nodes):
    raise ValueError(
      "The products in a function of TensorFlow 1 cannot be counted. "
      f"Received: {op.name}"
    )
  return {}


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


def _layer(name):
  """Where an op is: its layers' names without numbers, three deep.

  Example:
    >>> _layer("gradient_tape/ctc_1/encoder/block_2/dense_4/Tensordot/MatMul")
    'encoder/block/dense'
  """
  parts = name.split("/")[:-1]
  parts = [re.sub(r"(_\d+)+$", "", p) for p in parts if p != "gradient_tape"]
  # Layers are named in lower case, the ops in them are not.
  layers = list(itertools.takewhile(str.islower, parts))
  return "/".join(layers[1:4]) or "outside the layers"


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


_COUNTERS = {
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

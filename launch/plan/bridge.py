"""TensorFlow's own TPU bridge on a traced step.

The bridge is the compiler's first part, the same on a TPU VM. It refuses what a
TPU cannot run; what it lets through and the TPU does not is found in its
output: shapes that are not static, strings, and float64, which a TPU emulates.

Internals used: `tensorflow.python.pywrap_mlir.import_graphdef`, because
`tf.mlir.experimental.convert_function` loses the shapes of captured variables;
`EagerTensor._handle_data`, which holds them; the name of the pass pipeline.
"""

import re

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.python import pywrap_mlir

from launch.plan import tracing

_PIPELINE = "tf-replicated-clustering-bridge-v2"
_SUSPECTS = {
  "a shape that is not static": r"tensor<(?:\*x|[0-9x]*\?)",
  "strings": r"tensor<[0-9x?]*!tf_type\.string",
  "float64": r"tensor<[0-9x?]*f64>",
}


class Rejected(ValueError):
  """What a TPU would not run, as the bridge or its output says."""


def run(function: tracing.Traced) -> str:
  """What the bridge makes of a traced step.

  Args:
    function: from `launch.plan.tracing.trace`.

  Returns:
    str, the MLIR module: a host function, and the device function that all
    cores run. Its locations are the names of the graph's operations.

  Raises:
    Rejected: If the bridge refuses the step, with its own words.
  """
  try:
    return tf.mlir.experimental.run_pass_pipeline(
      _module(function), _PIPELINE, show_debug_info=True
    )
  except (tf.errors.OpError, ValueError) as error:
    found = re.findall(r"error: (.*)", str(error)) or [str(error)]
    raise Rejected(
      f"TensorFlow's TPU bridge refuses the step. Received: {found[0]}"
    ) from error


def suspects(module: str) -> dict[str, list[str]]:
  """What the bridge lets through and a TPU does not.

  Args:
    module: from `run`.

  Returns:
    dict from each kind of trouble to the list of ops that have it, empty when
    all is well.
  """
  found = {}
  device = module[device_function(module).start() :]
  for what, pattern in _SUSPECTS.items():
    lines = [li for li in device.splitlines() if re.search(pattern, li)]
    if lines:
      ops = (re.search(r'"(tf\.\w+)"', line) for line in lines)
      found[what] = sorted({op[1] if op else "an argument" for op in ops})
  return found


def device_function(module: str) -> re.Match[str]:
  """The head of the function that the cores run.

  Args:
    module: MLIR of TensorFlow's bridge, as text.

  Returns:
    Match in `module`.

  Raises:
    Rejected: If there is not exactly one.
  """
  called = re.findall(
    r'"tf_device\.cluster_func"\([^)]*\) <\{func = @(\w+)\}>', module
  )
  if len(called) != 1:
    raise Rejected(
      "A step must be one program, the same on all cores. Received: "
      f"{len(called)} programs"
    )
  name = re.escape(called[0])
  [head] = re.finditer(rf"func\.func private @{name}\(", module)
  return head


def _module(function):
  graph = function.graph
  graph_def = graph.as_graph_def()
  nodes = {node.name: node for node in graph_def.node}
  captures = graph.inputs[len(graph.inputs) - len(function.captured_inputs) :]
  for number, (inner, outer) in enumerate(
    zip(captures, function.captured_inputs)
  ):
    if outer.dtype != tf.resource:
      continue
    # A placeholder says nothing of the variable behind it, and the bridge
    # cannot lift an assignment whose shape it does not know.
    variable = outer._handle_data.shape_and_type[0]
    node = nodes[inner.op.name]
    node.op = "VarHandleOp"
    node.attr.clear()
    node.attr["dtype"].type = variable.dtype
    node.attr["shape"].shape.CopyFrom(variable.shape)
    node.attr["shared_name"].s = f"variable{number}".encode()
    node.attr["container"].s = b""
  _keep_copies(nodes)
  data = [tensor for tensor in graph.inputs if tensor.dtype != tf.resource]
  finished = _finished(graph_def, graph)
  return pywrap_mlir.import_graphdef(
    # It takes the str() of what it is given, in which newer versions of
    # protobuf leave quotes within bytes as they are.
    text_format.MessageToString(graph_def),
    "",
    # With the names of operations, by which what is compiled can be traced to
    # its layer.
    True,
    [tensor.op.name for tensor in data],
    [_datatype(tensor.dtype) for tensor in data],
    [_shape(tensor.shape) for tensor in data],
    [
      *(tensor.op.name for tensor in graph.outputs),
      finished,
    ],
  )


def _finished(graph_def, graph):
  """Adds an output that waits for the step; without one it is pruned."""
  name = graph.unique_name("finished")
  node = graph_def.node.add(op="Const", name=name)
  node.attr["dtype"].type = tf.int32.as_datatype_enum
  node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0))
  node.input.extend(f"^{op.name}" for op in graph.control_outputs)
  return name


def _keep_copies(nodes):
  """Leaves as many cores as there are copies of the variables.

  The program of a core does not change: its collectives name all cores.
  """
  inputs = [n for n in nodes.values() if n.op == "TPUReplicatedInput"]
  copies = min((node.attr["N"].i for node in inputs), default=0)
  for node in inputs:
    node.attr["N"].i = copies
    del node.input[copies:]
  for node in nodes.values():
    if node.op == "TPUReplicateMetadata":
      node.attr["num_replicas"].i = copies


def _datatype(dtype):
  names = {"float32": "FLOAT", "float64": "DOUBLE"}
  return f"DT_{names.get(dtype.name, dtype.name.upper())}"


def _shape(shape):
  return ",".join("?" if n is None else str(n) for n in shape.as_list())

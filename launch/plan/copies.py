"""A traced TPU step executed on CPU devices, all cores in one graph.

Used by tests only: a proof that the traced program is the method.

The body that `tpu.replicate` made is copied once a core; a CrossReplicaSum
becomes the sum over the copies, an AllToAll the pieces of all of them. Each
copy reads and writes its own core's variables, so the result is what the
program says, in the CPU's arithmetic.

Internals used: the ops and attributes of `tpu.replicate` (TPUReplicateMetadata,
TPUReplicatedInput, TPUReplicatedOutput, TPUCompilationResult and the attributes
in `_MARKS`).
"""

from collections.abc import Callable

import tensorflow as tf

from launch.plan import tracing

_MARKS = (
  "_class",
  "_post_device_rewrite",
  "_pre_outside_compilation",
  "_replication_info",
  "_tpu_compilation_status",
  "_tpu_replicate",
  "_xla_compile_id",
  "_xla_device_type",
  "_XlaMustCompile",
)
_DROPPED = ("TPUReplicateMetadata", "TPUCompilationResult")
_INT32 = tf.int32.as_datatype_enum


def executable(function: tracing.Traced, cores: int) -> Callable[..., None]:
  """A function that takes the traced step.

  Args:
    function: from `launch.plan.tracing.trace`.
    cores: int, those it was traced for.

  Returns:
    A function of the data the step was traced with. It changes the variables of
    all cores as the step does and returns nothing.

  Raises:
    ValueError: If a cross-replica operation is inside a loop or a branch, or
      is none of CrossReplicaSum and AllToAll.
  """
  program = _Program(function.graph.as_graph_def(), cores)
  ends = [op.name for op in function.graph.control_outputs]

  @tf.function(autograph=False)
  def run(*data):
    values = map(tf.convert_to_tensor, [*data, *function.captured_inputs])
    tf.graph_util.import_graph_def(
      program.graph_def,
      input_map={
        inner.name: value for inner, value in zip(function.graph.inputs, values)
      },
      name="",
    )
    graph = tf.compat.v1.get_default_graph()
    finished = [
      graph.get_operation_by_name(_copy(core, end))
      for core in range(cores)
      for end in ends
    ]
    with tf.control_dependencies(finished):
      return tf.constant(0)

  def step(data):
    options = tf.config.optimizer.get_experimental_options()
    # Optimising so many copies takes longer than running them a few times.
    tf.config.optimizer.set_experimental_options(
      {"disable_meta_optimizer": True}
    )
    try:
      run(*tf.nest.flatten(data, expand_composites=True))
    finally:
      tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": False, **options}
      )

  return step


def _copy(core, name):
  return f"core{core}/{name}"


class _Program:
  """The GraphDef of all copies.

  Args:
    traced: GraphDef of the traced step.
    cores: int.
  """

  def __init__(self, traced, cores):
    self.cores = cores
    self.graph_def = tf.compat.v1.GraphDef()
    self.graph_def.versions.CopyFrom(traced.versions)
    self.graph_def.library.CopyFrom(traced.library)
    self._arguments = {n.name for n in traced.node if n.op == "Placeholder"}
    self._dropped = {n.name for n in traced.node if n.op in _DROPPED}
    self._outputs = {
      n.name for n in traced.node if n.op == "TPUReplicatedOutput"
    }
    for function in self.graph_def.library.function:
      for node in function.node_def:
        if node.op in ("CrossReplicaSum", "AllToAll"):
          raise ValueError(
            "A cross-replica operation must not be inside a loop or a branch. "
            f"Received: {node.op} in {function.signature.name}"
          )
        _unmark(node)
    for node in traced.node:
      if node.op == "Placeholder":
        self.graph_def.node.add().CopyFrom(node)
      elif node.name not in self._dropped:
        for core in range(cores):
          self._add(node, core)

  def _add(self, node, core):
    copy = self.graph_def.node.add()
    copy.CopyFrom(node)
    copy.name, copy.device = _copy(core, node.name), ""
    _unmark(copy)
    data = [i for i in node.input if not i.startswith("^")]
    control = [
      f"^{self._name(i[1:], core)}"
      for i in node.input
      if i.startswith("^") and i[1:] not in self._dropped
    ]
    if node.op == "TPUReplicatedInput":
      self._become(copy, "Identity", [self._name(data[core], core)])
    elif node.op == "TPUReplicatedOutput":
      self._become(copy, "Identity", [self._name(data[0], core)])
    elif node.op == "CrossReplicaSum":
      self._become(copy, "AddN", self._of_all(data[0]))
      copy.attr["N"].i = self.cores
    elif node.op == "AllToAll":
      self._exchange(copy, node, data[0], core)
    elif node.op.startswith(("Collective", "XlaAll", "XlaReduceScatter")):
      raise ValueError(f"No such operation between copies. Received: {node.op}")
    else:
      copy.input[:] = [self._name(i, core) for i in data]
    copy.input.extend(control)

  def _exchange(self, copy, node, tensor, core):
    """Piece `core` of every copy's tensor, one after the other."""
    axes = []
    for attr in ("split_dimension", "concat_dimension"):
      axis = self.graph_def.node.add(op="Const", name=f"{copy.name}/{attr}")
      axis.attr["dtype"].type = _INT32
      axis.attr["value"].tensor.CopyFrom(
        tf.make_tensor_proto(node.attr[attr].i, tf.int32)
      )
      axes.append(axis.name)
    pieces = []
    for sender, sent in enumerate(self._of_all(tensor)):
      piece = self.graph_def.node.add(
        op="Split", name=f"{copy.name}/from{sender}", input=[axes[0], sent]
      )
      piece.attr["T"].CopyFrom(node.attr["T"])
      piece.attr["num_split"].i = self.cores
      pieces.append(f"{piece.name}:{core}")
    self._become(copy, "ConcatV2", [*pieces, axes[1]])
    copy.attr["N"].i = self.cores
    copy.attr["Tidx"].type = _INT32

  def _become(self, copy, op, inputs):
    kind = copy.attr["T"].type
    copy.op = op
    copy.attr.clear()
    copy.attr["T"].type = kind
    copy.input[:] = inputs

  def _of_all(self, tensor):
    return [self._name(tensor, core) for core in range(self.cores)]

  def _name(self, tensor, core):
    name, _, output = tensor.partition(":")
    if name in self._arguments:
      return tensor
    if name in self._outputs:
      # Output k of this op is what core k gave.
      return _copy(int(output or 0), name)
    return _copy(core, name) + (f":{output}" if output else "")


def _unmark(node):
  for mark in _MARKS:
    if mark in node.attr:
      del node.attr[mark]

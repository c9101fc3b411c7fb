"""A training step traced under a real TPUStrategy, without a TPU.

The strategy is TensorFlow's own. Its devices are logical CPU devices, so its
variables are real, one copy a core, and `strategy.run` goes through the same
`tpu.replicate` as on a TPU VM. It traces; `launch.plan.copies` executes.

Internals used: `Strategy._enable_packed_variable_in_eager_mode`,
`StrategyExtended._tpu_devices`; and that `TPUStrategy` asks its resolver for
nothing but `get_tpu_system_metadata()`.
"""

import collections
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

_HOST = "/job:localhost/replica:0/task:0/device"
_Device = collections.namedtuple("_Device", ["name", "device_type"])


class _Resolver(tf.distribute.cluster_resolver.ClusterResolver):
  """Says that this machine has so many TPU cores."""

  environment = ""
  task_type = None
  task_id = None
  tpu_hardware_feature = None

  def __init__(self, cores):
    self._cores = cores

  def get_tpu_system_metadata(self):
    return tf.tpu.experimental.TPUSystemMetadata(
      num_cores=self._cores,
      num_hosts=1,
      num_of_cores_per_host=self._cores,
      topology=None,
      devices=tuple(
        _Device(f"{_HOST}:TPU:{core}", "TPU") for core in range(self._cores)
      ),
    )

  def cluster_spec(self):
    return tf.train.ClusterSpec({})

  def master(self, task_type=None, task_id=None, rpc_layer=None):
    return ""

  def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
    return {"TPU": self._cores}


class Traced(Protocol):
  """What is used of the function that `tf.function` traces.

  Attributes:
    graph: the `tf.Graph` of a function, with `inputs`, `outputs` and
      `control_outputs`.
    captured_inputs: tensors from outside, variables among them.
  """

  graph: Any
  captured_inputs: Sequence[tf.Tensor]


def tpu_strategy(
  cores: int, copies: int | None = None
) -> tf.distribute.TPUStrategy:
  """A `tf.distribute.TPUStrategy` whose cores are logical CPU devices.

  Args:
    cores: int, at most the number of logical CPU devices; those must be made
      before TensorFlow starts.
    copies: int or None. With it, the step is traced for `cores` cores while
      only so many copies of each variable exist: enough for the bridge and XLA,
      whose program is one for all cores, and too few for
      `launch.plan.copies`. Two at least: with one the core's number would be
      taken for a constant.

  Returns:
    `tf.distribute.TPUStrategy`.

  Raises:
    ValueError: If there are fewer logical CPU devices.
  """
  devices = len(tf.config.list_logical_devices("CPU"))
  if copies is None and not 1 <= cores <= devices:
    raise ValueError(
      f"cores must be between 1 and {devices}, the number of logical CPU "
      f"devices. Received: cores={cores}"
    )
  copies = cores if copies is None else copies
  if not min(cores, 2) <= copies <= min(cores, devices):
    raise ValueError(
      f"copies must be between 2 and {min(cores, devices)}. "
      f"Received: copies={copies}, cores={cores}"
    )
  strategy = tf.distribute.TPUStrategy(_Resolver(cores))
  # One packed handle for all copies of a variable needs a TPU's runtime.
  strategy._enable_packed_variable_in_eager_mode = False
  strategy.extended._tpu_devices = np.array(
    [[f"{_HOST}:CPU:{copy}"] for copy in range(copies)], dtype=object
  )
  return strategy


def distribute(
  strategy: tf.distribute.TPUStrategy, batches: Sequence[Any]
) -> Any:
  """One batch a core, as `strategy.run` takes it.

  Args:
    strategy: from `tpu_strategy`.
    batches: list of equal nested structures of arrays, one a core.

  Returns:
    The structure, of per-replica tensors.
  """

  def values(*copies):
    return strategy.experimental_distribute_values_from_function(
      lambda context: tf.constant(copies[context.replica_id_in_sync_group])
    )

  return keras.tree.map_structure(values, *batches)


def trace(
  strategy: tf.distribute.TPUStrategy, step: Callable[[Any], Any], data: Any
) -> Traced:
  """The graph of one step on all cores.

  Args:
    strategy: from `tpu_strategy`.
    step: function of one core's batch, for example `model.train_step`.
    data: from `distribute`, or a structure of `tf.TensorSpec`.

  Returns:
    The concrete function of one argument. Do not call it: its ops are a TPU's.

  Illustration:

  ```python
  strategy = tpu_strategy(4)
  with strategy.scope():
    model = ...  # built and compiled, its optimizer built
  function = trace(strategy, model.train_step, distribute(strategy, batches))
  ```
  """
  # As in launch.train: the step needs no conversion.
  step = tf.autograph.experimental.do_not_convert(step)

  @tf.function(autograph=False)
  def run(data):
    return strategy.run(step, args=(data,))

  return run.get_concrete_function(data)


def foreign_resources(function: Traced, cores: int) -> list[str]:
  """Captured variables that are not one copy a core.

  A variable made outside `strategy.scope()` lives on the host; a step that
  uses it compiles, and fails on the TPU.

  Args:
    function: from `trace`.
    cores: int.

  Returns:
    list of str, names of the captures, empty when all is well.
  """
  graph = function.graph
  captures = graph.inputs[len(graph.inputs) - len(function.captured_inputs) :]
  return [
    inner.name
    for inner, outer in zip(captures, function.captured_inputs)
    if outer.dtype == tf.resource
    and not all(_replicated(op, cores) for op in inner.consumers())
  ]


def _replicated(op, cores):
  return (
    op.type == "TPUReplicatedInput"
    and len({tensor.name for tensor in op.inputs}) == cores
  )

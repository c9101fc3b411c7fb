"""From flags to a tf.distribute strategy: where the cores are.

| given                                    | strategy                          |
|------------------------------------------|-----------------------------------|
| --tpu=local, or a TPU's name or address  | TPUStrategy                       |
| TF_CONFIG with several workers           | MultiWorkerMirroredStrategy       |
| --cores=N                                | MirroredStrategy on N logical CPU |
|                                          | devices of this machine           |
| GPUs                                     | MirroredStrategy on all of them   |
| none of these                            | as --cores=N with the config's N  |
"""

import collections
import dataclasses
import glob
import json
import os
import socket
import urllib.parse

import tensorflow as tf
from absl import flags, logging

from tf_pcc import forms, replicas

_PATIENCE_SECONDS = 5
# Of TF_CONFIG, in a message.
_SHOWN = 500

TPU = flags.DEFINE_string(
  "tpu",
  None,
  '"local" on a TPU VM, or the name or grpc address of a TPU.',
)
CORES = flags.DEFINE_integer(
  "cores",
  None,
  "Train on this many logical CPU cores, each a replica; default: "
  "config.cores.",
  lower_bound=1,
)


def make_strategy(cores: int) -> tf.distribute.Strategy:
  """The strategy that the flags and the machine ask for.

  Call it before anything else touches TensorFlow's devices.

  Args:
    cores: int, number of logical CPU cores when nothing else is asked for.

  Returns:
    `tf.distribute.Strategy`.

  Raises:
    ValueError: If the TPU asked for cannot be reached, TF_CONFIG is not what
      TensorFlow reads, or --cores is given where it has no meaning.
  """
  workers = count_workers()
  if CORES.value is not None and (TPU.value is not None or workers > 1):
    raise ValueError(
      "--cores is for one machine without a TPU: leave it out with --tpu and "
      f"with several workers in TF_CONFIG. Received: cores={CORES.value}, "
      f"tpu={TPU.value!r}, workers={workers}"
    )
  if TPU.value is not None:
    strategy = _tpu(TPU.value)
  elif workers > 1:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
  elif CORES.value is None and tf.config.list_physical_devices("GPU"):
    strategy = tf.distribute.MirroredStrategy()
  else:
    strategy = logical_cores(CORES.value or cores)
  logging.info(
    "%s, %d cores\n%s",
    type(strategy).__name__,
    strategy.num_replicas_in_sync,
    device_table(strategy),
  )
  return strategy


def device_table(strategy: tf.distribute.Strategy) -> str:
  """The devices of each host, a line a host.

  Args:
    strategy: tf.distribute strategy.

  Returns:
    str.
  """
  hosts = collections.defaultdict(list)
  for name in strategy.extended.worker_devices:
    device = tf.DeviceSpec.from_string(name)
    host = f"{device.job or 'localhost'} {device.task or 0}"
    hosts[host].append(f"{device.device_type}:{device.device_index}")
  return "\n".join(
    f"  {host}: {len(devices)} x {', '.join(devices)}"
    for host, devices in hosts.items()
  )


def logical_cores(count: int) -> tf.distribute.Strategy:
  """Replicas on logical CPU devices of this machine.

  They share its real cores: this is for trying out, not for speed.

  Args:
    count: int.

  Returns:
    `tf.distribute.Strategy` with `count` replicas.

  Raises:
    ValueError: If `count` is below 1.
    RuntimeError: If TensorFlow has already made fewer devices.
  """
  if count < 1:
    raise ValueError(f"cores must be at least 1. Received: cores={count}")
  if count == 1:
    return tf.distribute.OneDeviceStrategy("CPU:0")
  physical = tf.config.list_physical_devices("CPU")[0]
  existing = tf.config.get_logical_device_configuration(physical)
  if existing is None or len(existing) < count:
    tf.config.set_logical_device_configuration(
      physical, [tf.config.LogicalDeviceConfiguration()] * count
    )
  return tf.distribute.MirroredStrategy(
    [f"CPU:{core}" for core in range(count)],
    # The default all-reduce has been seen to stall on logical CPU devices.
    cross_device_ops=tf.distribute.ReductionToOneDevice(),
  )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
  """Whether this process writes what the workers share.

  Args:
    strategy: the `tf.distribute.Strategy` of the run.

  Returns:
    bool.
  """
  return strategy.extended.should_checkpoint


def gather(strategy: tf.distribute.Strategy, number: int) -> list[int]:
  """What each worker says, to all of them.

  All workers must call it at the same point.

  Args:
    strategy: tf.distribute strategy.
    number: int, this process's answer.

  Returns:
    list of int, one a core; one entry where there is a single process.
  """
  if not replicas.spans_workers(strategy):
    return [number]
  gathered = strategy.run(_slots, args=(tf.constant([float(number)]),))
  first = strategy.experimental_local_results(gathered)[0]
  return [int(value) for value in first.numpy().ravel()]


@tf.function(autograph=False)
def _slots(values):
  # One function: each of its own would be traced, and kept, at every call.
  return replicas.gather(values)


def count_workers() -> int:
  """The number of workers in TF_CONFIG, 0 without one.

  Raises:
    ValueError: If it is not what TensorFlow reads.
  """
  described = os.environ.get("TF_CONFIG") or "{}"
  try:
    found = json.loads(described)
    wrong = forms.mismatch(found, _Described) or _mistake(found)
  except (ValueError, RecursionError) as error:
    wrong = str(error)
  if wrong:
    raise ValueError(
      'TF_CONFIG must be JSON like {"cluster": {"worker": ["HOST:PORT", ...]}, '
      f'"task": {{"type": "worker", "index": 0}}}} ({wrong}). '
      f"Received: TF_CONFIG={described[:_SHOWN]}"
    )
  return len(_addresses(found))


@dataclasses.dataclass(frozen=True)
class _Task:
  type: str = ""
  index: int = 0


@dataclasses.dataclass(frozen=True)
class _Described:
  """What is read of TF_CONFIG."""

  cluster: dict[str, list[str]] = dataclasses.field(default_factory=dict)
  task: _Task = _Task()


def _addresses(found):
  jobs = found.get("cluster", {})
  return [*jobs.get("chief", []), *jobs.get("worker", [])]


def _mistake(found):
  """What would be waited for, or raise elsewhere; None if nothing."""
  addresses, task = _addresses(found), found.get("task", {})
  if len(addresses) < 2:
    return None
  for address in addresses:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
      return f"{address} is no HOST:PORT with a port from 1 to 65535"
  if len(set(addresses)) < len(addresses):
    return "two workers have one address"
  job, index = task.get("type", ""), task.get("index", 0)
  size = len(found["cluster"].get(job, []))
  # Others, such as an evaluator, are for TensorFlow to judge.
  if job in ("chief", "worker") and not 0 <= index < size:
    return f"the cluster has {size} of type {job!r}, so none of index {index}"
  return None


def _tpu(name):
  try:
    # TensorFlow itself waits for minutes for what is not there.
    _check_reachable(name)
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
  except (tf.errors.OpError, ValueError, RuntimeError, OSError) as error:
    raise ValueError(
      "--tpu must name a TPU that this machine reaches: on a TPU VM use "
      "--tpu=local and check `ls /dev/accel* /dev/vfio` and that "
      f"tensorflow-tpu is installed. Received: tpu={name!r} ({error})"
    ) from error
  return tf.distribute.TPUStrategy(resolver)


def _check_reachable(name):
  """Raises OSError when there is no TPU behind its name."""
  if name in ("", "local"):
    if not glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*"):
      raise OSError("this machine has no TPU device")
    return
  if name.startswith("grpc://"):
    place = urllib.parse.urlsplit(name)
    _check_server(place.netloc if place.port else f"{place.netloc}:8470")
    return
  # A TPU's name is looked up through the virtual machine's metadata.
  place = "metadata.google.internal", 80
  try:
    socket.create_connection(place, timeout=_PATIENCE_SECONDS).close()
  except OSError as error:
    raise OSError(f"{place[0]}:{place[1]} does not answer: {error}") from error


def _check_server(address):
  """Raises OSError when no TensorFlow server listens at HOST:PORT.

  It asks what TensorFlow asks first; TensorFlow itself aborts the process when
  another program answers.
  """
  # TensorFlow brings it along.
  import grpc

  with grpc.insecure_channel(
    address, options=[("grpc.enable_http_proxy", 0)]
  ) as channel:
    status = channel.unary_unary("/tensorflow.WorkerService/GetStatus")
    try:
      status(b"", timeout=_PATIENCE_SECONDS)
    except grpc.RpcError as error:
      raise OSError(
        f"{address} does not answer as a TensorFlow server: {error.details()}"
      ) from error

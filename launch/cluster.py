"""From flags to a tf.distribute strategy: where the cores are.

| what is there                            | strategy                          |
|------------------------------------------|-----------------------------------|
| --tpu=local, or a TPU's name or address  | TPUStrategy                       |
| TF_CONFIG with several workers           | MultiWorkerMirroredStrategy       |
| --cores=N                                | MirroredStrategy on N logical CPU |
|                                          | devices of this machine           |
| GPUs                                     | MirroredStrategy on all of them   |
| none of these                            | as --cores=N with the config's N  |
"""

import json
import os

import tensorflow as tf
from absl import flags, logging

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


def make_strategy(cores):
  """The strategy that the flags and the machine ask for.

  Call it before anything else touches TensorFlow's devices.

  Args:
    cores: int, number of logical CPU cores when nothing else is asked for.

  Returns:
    `tf.distribute.Strategy`.

  Raises:
    ValueError: when the TPU asked for cannot be reached.
  """
  if TPU.value is not None:
    strategy = _tpu(TPU.value)
  elif _workers() > 1:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
  elif CORES.value is None and tf.config.list_physical_devices("GPU"):
    strategy = tf.distribute.MirroredStrategy()
  else:
    strategy = logical_cores(CORES.value or cores)
  logging.info(
    "%s, %d cores", type(strategy).__name__, strategy.num_replicas_in_sync
  )
  return strategy


def logical_cores(count):
  """Replicas on logical CPU devices of this machine.

  They share its real cores: this is for trying out, not for speed.

  Args:
    count: int.

  Returns:
    `tf.distribute.Strategy` with `count` replicas.
  """
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


def is_chief(strategy):
  """Whether this process writes what the workers share."""
  return strategy.extended.should_checkpoint


def _workers():
  config = json.loads(os.environ.get("TF_CONFIG", "{}"))
  return len(config.get("cluster", {}).get("worker", []))


def _tpu(name):
  try:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
  except (tf.errors.OpError, ValueError, RuntimeError) as error:
    raise ValueError(
      "--tpu must name a TPU that this machine reaches: on a TPU VM use "
      "--tpu=local and check `ls /dev/accel* /dev/vfio` and that "
      f"tensorflow-tpu is installed. Received: tpu={name!r} ({error})"
    ) from error
  return tf.distribute.TPUStrategy(resolver)

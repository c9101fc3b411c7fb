"""Eight logical CPU devices for replicas, and the fixtures every test shares.

The devices must exist before TensorFlow runs its first op, so they are made at
import time, before any test module is collected.
"""

import os
import pathlib
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import pytest
import tensorflow as tf

from models.losses import compiling
from tests import module_processes

CORES = 8
tf.config.set_logical_device_configuration(
  tf.config.list_physical_devices("CPU")[0],
  [tf.config.LogicalDeviceConfiguration()] * CORES,
)


def pytest_configure(config):
  module_processes.register(config)


def mirrored(cores):
  """A MirroredStrategy over the first `cores` logical CPU devices.

  ReductionToOneDevice because the default all-reduce fails inside the loop of
  steps_per_execution on logical CPU devices.
  """
  if cores == 1:
    return tf.distribute.OneDeviceStrategy("CPU:0")
  return tf.distribute.MirroredStrategy(
    [f"CPU:{core}" for core in range(cores)],
    cross_device_ops=tf.distribute.ReductionToOneDevice(),
  )


@pytest.fixture
def make_strategy():
  """The function `mirrored`, as a fixture."""
  return mirrored


@pytest.fixture(scope="session", autouse=True)
def _xla_compiles_quickly():
  """Without the passes of LLVM, which take a third of the time of compiling.

  XLA reads its flags once, when it first compiles. The tests' own processes do
  not inherit them.
  """
  flags = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
  )
  with mock.patch.dict(os.environ, XLA_FLAGS=flags):
    # Compiles one program.
    compiling.host_compiles()


@pytest.fixture(autouse=True)
def _fresh_keras():
  """Every test starts from the float32 policy, one seed, no leftover graph."""
  keras.config.set_dtype_policy("float32")
  keras.utils.set_random_seed(0)
  yield
  keras.config.set_dtype_policy("float32")
  keras.utils.clear_session(free_memory=False)


@pytest.fixture(scope="session")
def shared_data():
  """The folder of real speech, or a skip that says where it was looked for."""
  root = pathlib.Path(__file__).resolve().parent.parent
  places = [root.parent / "shared" / "data"]
  if "TF_PCC_TEST_DATA" in os.environ:
    places.insert(0, pathlib.Path(os.environ["TF_PCC_TEST_DATA"]))
  for place in places:
    if place.is_dir():
      return place
  pytest.skip(f"no real speech in {[str(p) for p in places]}")

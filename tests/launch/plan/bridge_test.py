"""Steps that a TPU cannot run are found by the bridge or in its output."""

import numpy as np
import pytest
import tensorflow as tf

from launch.plan import bridge, tracing

CORES = 2


def module(step, data=None):
  strategy = tracing.tpu_strategy(CORES)
  if data is None:
    data = tracing.distribute(strategy, [np.ones([4, 8], np.float32)] * CORES)
  return bridge.run(tracing.trace(strategy, step, data))


def product(x):
  return tf.matmul(x, x, transpose_b=True)


def test_a_static_step():
  text = module(product)
  assert bridge.suspects(text) == {}
  assert bridge.device_function(text)


def test_boolean_mask():
  found = bridge.suspects(module(lambda x: tf.boolean_mask(x, x > 0)))
  assert "tf.Where" in found["a shape that is not static"]


def test_dynamic_batch():
  found = bridge.suspects(module(product, tf.TensorSpec([None, 8], tf.float32)))
  assert list(found) == ["a shape that is not static"]


def test_string_op():
  with pytest.raises(bridge.Rejected, match="AsString"):
    module(lambda x: tf.strings.length(tf.strings.as_string(x)))


def test_python_function():
  with pytest.raises(bridge.Rejected, match="EagerPyFunc"):
    module(lambda x: tf.py_function(lambda y: y, [x], tf.float32) + 1)


def test_float64():
  found = bridge.suspects(module(lambda x: product(tf.cast(x, tf.float64))))
  assert "float64" in found

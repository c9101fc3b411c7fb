"""Steps that a TPU cannot run are found by the bridge or in its output."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

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


def test_quotes_in_a_constant_reach_the_bridge(monkeypatch):
  """Some versions of protobuf do not escape them in the str() of a graph."""
  texts = []
  taken = bridge.pywrap_mlir.import_graphdef

  def kept(text, *arguments):
    texts.append(text)
    return taken(text, *arguments)

  monkeypatch.setattr(bridge.pywrap_mlir, "import_graphdef", kept)
  # In ASCII a quote, a backslash, a quote and the end of a line.
  content = np.array([34, 92, 34, 10], np.uint8)
  module(
    lambda x: x + tf.cast(tf.constant(content), tf.float32),
    tracing.distribute(
      tracing.tpu_strategy(CORES), [np.ones(4, np.float32)] * CORES
    ),
  )
  (text,) = texts
  graph = text_format.Parse(text, tf.compat.v1.GraphDef())
  constants = [n.attr["value"].tensor for n in graph.node if n.op == "Const"]
  assert b'"\\"\n' in [constant.tensor_content for constant in constants]

"""Where in a model the ops are that a TPU does not take."""

import dataclasses
import inspect
import re

import keras
import pytest
import tensorflow as tf

from launch.plan import bridge, refusal, tracing
from launch.runs import saved_config
from tests.launch.plan import steps
from tf_pcc import files


def masked(x):
  with tf.name_scope("loss/frames"):
    return tf.reduce_sum(tf.boolean_mask(x, x > 0))


def spelt(x):
  with tf.name_scope("text"):
    return tf.strings.length(tf.strings.as_string(x))


def spelt_in_a_loop(x):
  with tf.name_scope("outer"):
    return tf.while_loop(
      lambda i, _: i < 2,
      lambda i, y: (i + 1, y + tf.cast(spelt(y), tf.float32)),
      [0, x],
    )[1]


def line_of(function, words):
  lines, first = inspect.getsourcelines(function)
  (number,) = (n for n, text in enumerate(lines) if words in text)
  return f"tests/launch/plan/refusal_test.py:{first + number}"


def graph_of(step):
  spec = tf.TensorSpec([2, 3])
  return tf.function(step).get_concrete_function(spec).graph


def test_the_bridges_words_lead_to_a_line():
  """Layers and scopes are in the names."""
  layer = keras.layers.Lambda(spelt, name="speller")
  strategy = tracing.tpu_strategy(2)
  data = tracing.distribute(strategy, [tf.ones([2, 3]).numpy()] * 2)
  with pytest.raises(bridge.Rejected) as refused:
    bridge.run(tracing.trace(strategy, layer, data))
  found = refusal.where(graph_of(layer), str(refused.value), {})
  (place,) = found.pop("tf.AsString")
  assert not found
  assert re.fullmatch(r"\S*speller\S*/text/AsString \(.*\)", place)
  assert line_of(spelt, "as_string") in place


def test_only_suspects_that_are_unfit_themselves():
  def step(x):
    return masked(x) + tf.reduce_sum(x, name="innocent")

  kinds = {"a shape that is not static": ["an argument", "tf.Sum", "tf.Where"]}
  found = refusal.where(graph_of(step), None, kinds)
  # The cause first.
  assert list(found) == ["tf.Where", "tf.Sum"]
  assert "innocent" not in str(found)
  for (place,) in found.values():
    assert "loss/frames" in place and line_of(masked, "boolean_mask") in place


def test_bodies_of_loops():
  found = refusal.where(graph_of(spelt_in_a_loop), "'tf.AsString' op", {})
  assert "text/AsString" in str(found["tf.AsString"])


def test_many_are_counted():
  def step(x):
    return [tf.strings.as_string(x) for _ in range(8)]

  found = refusal.where(graph_of(step), "'tf.AsString' op", {})["tf.AsString"]
  assert len(found) == 4 and found[-1] == "5 more"


def test_of_a_request(tmp_path):
  """As the planner asks, for the step of a config."""
  saved_config.save_config(str(tmp_path), steps.tiny())
  facts = dataclasses.replace(
    steps.TRACED, rejected="loc('tf.MatMul'): no form"
  )
  files.write_json(str(tmp_path / "step.json"), dataclasses.asdict(facts))
  request = {"directory": str(tmp_path), "cores": 4, "batch": 2}
  request |= {"samples": 8000, "labels": 10, "vocab_size": 32}
  files.write_json(str(tmp_path / "request.json"), request)
  refusal.main(str(tmp_path / "request.json"))
  found = files.read_json(str(tmp_path / "where.json"))["tf.MatMul"]
  assert re.match(r".*/\w+/MatMul \(models/[\w/]+\.py:\d+\)$", found[0])

"""A run that explodes ends with an error and keeps what was good."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from launch.runs import checkpoints, health, metrics

HUGE = {"name": "sgd", "learning_rate": 1e30}


def _weights(path):
  reader = tf.train.load_checkpoint(path)
  return [
    reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    if name.startswith("weights/")
  ]


def test_weights_that_are_not_finite_are_never_saved(
  run_program, write_config, tmp_path
):
  config = write_config(
    steps=6,
    cores=1,
    checkpoint_every=1,
    keep_checkpoints=0,
    clipping={"method": "none"},
    optimizer=HUGE,
  )
  done = run_program("train", config, f"--workdir={tmp_path / 'run'}")
  assert done.code == 1
  assert "weights are not finite any more" in done.complaint
  for remedy in ("smaller optimizer.learning_rate", "clipping.method=apcc"):
    assert remedy in done.complaint
  assert not (tmp_path / "run" / "summary.json").exists()
  found = checkpoints.checkpoint_paths(tmp_path / "run")
  # The first step's weights are huge, but numbers.
  assert found and found[-1][0] < 6
  step, path = found[-1]
  assert f"of step {step}, is {path}" in done.complaint
  for _, path in found:
    assert all(np.isfinite(w).all() for w in _weights(path))


def test_steps_skipped_in_a_row_stop_the_run(
  run_program, write_config, tmp_path
):
  config = write_config(
    steps=30,
    checkpoint_every=1,
    keep_checkpoints=0,
    clipping={"method": "pcc", "skipped_limit": 4},
    optimizer=HUGE,
  )
  done = run_program("train", config, f"--workdir={tmp_path}")
  assert done.code == 1
  assert "the last 4 steps had no core with a finite grad" in done.complaint
  assert "clipping.skipped_limit=4" in done.complaint
  assert not (tmp_path / "summary.json").exists()
  last = metrics.read(tmp_path)[-1]
  assert last["skipped_in_a_row"] == 4 and last["loss"] is None
  assert last["step"] < 30 and last["dead_core_steps"] >= 8
  [*_, (step, path)] = checkpoints.checkpoint_paths(tmp_path)
  assert step == last["step"] - 1
  assert all(np.isfinite(w).all() for w in _weights(path))


@pytest.mark.parametrize(
  ("skipped", "limit", "steps", "stops"),
  [
    (99, 100, 1000, False),
    (100, 100, 1000, True),
    (107, 100, 1000, True),
    (10**6, 0, 1000, False),
    # A short run of which no step was taken.
    (20, 100, 20, True),
    (19, 100, 20, False),
  ],
)
def test_the_limit(make_config, skipped, limit, steps, stops):
  config = make_config(steps=steps, clipping={"skipped_limit": limit})
  line = {"skipped_in_a_row": skipped}
  if stops:
    with pytest.raises(FloatingPointError, match="there is no checkpoint yet"):
      health.require_live(line, 5, config, "/nowhere")
  else:
    health.require_live(line, 5, config, "/nowhere")
  # Between two lines of the log, and without clipping, nothing is known.
  health.require_live({}, 5, config, "/nowhere")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [0, 2])
def test_one_bad_number_is_found(make_config, value, index):
  model = keras.Sequential(
    [keras.layers.Dense(3), keras.layers.BatchNormalization()]
  )
  model.build((None, 2))
  health.require_finite(model, 3, make_config(), "/nowhere")
  weight = model.weights[index]
  broken = weight.numpy()
  broken.flat[-1] = value
  weight.assign(broken)
  with pytest.raises(FloatingPointError, match=f"1 of 6.*{weight.path}"):
    health.require_finite(model, 3, make_config(), "/nowhere")


def test_a_model_is_asked_in_one_graph_and_not_kept(make_config):
  model = keras.Sequential([keras.layers.Dense(3)])
  model.build((None, 2))
  for step in range(3):
    health.require_finite(model, step, make_config(), "/nowhere")
  assert health._askers[model].experimental_get_tracing_count() == 1
  kept = weakref.ref(model)
  del model
  gc.collect()
  assert kept() is None

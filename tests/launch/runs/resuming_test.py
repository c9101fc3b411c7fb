"""A run that stops and goes on is the run that never stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from launch.runs import (
  checkpoints,
  datasets,
  metrics,
  opening,
  saved_config,
  stepping,
)
from tests.launch.conftest import ROOT
from tf_pcc import files

RUNNING = {"method": "running", "decay": 0.7, "statistic": "mean"}
FIELDS = {
  "clipping": RUNNING,
  "log_every": 2,
  "checkpoint_every": 4,
  "policy": "float32",
}


def state(directory):
  """All tensors of the newest checkpoint, by name."""
  path = tf.train.latest_checkpoint(os.path.join(directory, "checkpoints"))
  reader = tf.train.load_checkpoint(path)
  return {
    name: reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    if name != "_CHECKPOINTABLE_OBJECT_GRAPH" and "save_counter" not in name
  }


def clipper_state(directory):
  (saved,) = (
    value
    for name, value in state(directory).items()
    if "py_state" in name and not name.startswith("config/")
  )
  return {
    name: np.array(value, dtype)
    for name, (dtype, value) in json.loads(saved).items()
  }


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
  """Where the run of the first three steps will be."""
  return tmp_path_factory.mktemp("halfway") / "run"


@pytest.fixture
def noisy_config(make_config):
  """The tiny experiment with dropout and dither beside SpecAugment."""

  def make(**fields):
    config = make_config(**FIELDS, **fields)
    config.model.fields["encoder"]["dropout"] = 0.2
    config.model.fields["features"]["dither"] = 1e-3
    return config

  return make


@pytest.fixture
def parts(halfway, noisy_config, train_cores, tmp_path):
  """A copy of a run of three steps, which lie between two checkpoints."""
  if not halfway.exists():
    train_cores(noisy_config(steps=3), halfway)
  return shutil.copytree(halfway, tmp_path / "parts")


def test_three_and_three_steps_are_six_bit_for_bit(
  noisy_config, train_cores, tmp_path, parts
):
  """Weights, Adam's slots, running norms, all noise, the log."""
  whole = tmp_path / "whole"
  train_cores(noisy_config(steps=6), whole)
  summary = train_cores(noisy_config(steps=6), parts)
  expected, found = state(whole), state(parts)
  assert expected.keys() == found.keys()
  for name, value in expected.items():
    np.testing.assert_array_equal(value, found[name], err_msg=name)
  assert summary["steps"] == 6
  assert [line["step"] for line in metrics.read(whole)] == [2, 4, 6]
  assert [line["step"] for line in metrics.read(parts)] == [2, 3, 4, 6]
  assert metrics.read(whole)[-1] == metrics.read(parts)[-1]


def test_running_norms_are_translated_to_another_number_of_cores(
  noisy_config, train_cores, parts
):
  before = clipper_state(parts)
  train_cores(noisy_config(steps=4), parts, cores=4)
  after = clipper_state(parts)
  bound = tf_pcc.RunningBound(RUNNING["decay"], RUNNING["statistic"])
  resized = bound.resize_state(
    {name: before[f"bound_{name}"] for name in bound.state_names}, 4
  )
  decay, average = RUNNING["decay"], resized["log_average"]
  gain = (1 - decay) / (decay * resized["weight"] + (1 - decay))
  np.testing.assert_allclose(
    after["bound_log_average"],
    average + gain * (np.log(after["norms"]) - average),
    rtol=1e-5,
  )
  assert np.ptp(after["norms"]) > 0 and after["norms"].shape == (4,)


def test_a_run_at_its_end_is_scored_again_and_changes_nothing(
  noisy_config, train_cores, parts
):
  before = state(parts)
  first = files.read_json(parts / "summary.json")
  again = train_cores(noisy_config(steps=3), parts)
  for name, value in state(parts).items():
    np.testing.assert_array_equal(value, before[name], err_msg=name)
  for name in ("wer", "cer", "steps", "seconds_per_step", "clipping"):
    assert again[name] == first[name]
  assert [line["step"] for line in metrics.read(parts)] == [2, 3]


def test_a_run_with_more_steps_has_not_ended(
  noisy_config, train_cores, parts, monkeypatch
):
  def stopped(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(stepping, "step_function", stopped)
  with pytest.raises(KeyboardInterrupt):
    train_cores(noisy_config(steps=6), parts)
  assert not (parts / "summary.json").exists()


def test_another_config_is_refused_with_its_fields(
  noisy_config, train_cores, parts
):
  before = (parts / "config.json").read_text()
  config = noisy_config(steps=9, seed=4)
  config.clipping.bound = 7.0
  with pytest.raises(ValueError, match="made by another") as error:
    train_cores(config, parts)
  assert "seed: 0 there, 4 now" in str(error.value)
  assert "clipping.bound: 2.5 there, 7.0 now" in str(error.value)
  assert "steps" not in str(error.value)
  assert (parts / "config.json").read_text() == before


def _forget(parts, config):
  (parts / "config.json").unlink()


def _rewrite(parts, config):
  saved_config.save_config(parts, config)


@pytest.mark.parametrize("change", [_forget, _rewrite])
@pytest.mark.parametrize(
  ("group", "field", "value"),
  [
    # Their slots have the same shapes.
    ("optimizer", "name", "nadam"),
    ("optimizer", "beta_2", 0.9),
    ("optimizer", "arguments", {"epsilon": 1e-3}),
    ("clipping", "decay", 0.9),
    ("", "seed", 7),
  ],
)
def test_a_checkpoint_of_another_config_is_refused_with_its_fields(
  noisy_config, train_cores, parts, change, group, field, value
):
  """Whatever config.json says, or if there is none."""
  config = noisy_config(steps=6)
  (config[group] if group else config)[field] = value
  change(parts, config)
  before = {p.name for p in (parts / "checkpoints").iterdir()}
  name = f"{group}.{field}" if group else field
  with pytest.raises(ValueError, match=rf"ckpt-3\.\* was saved.*{name}") as e:
    train_cores(config, parts)
  assert "there, " in str(e.value) and "steps" not in str(e.value)
  assert {p.name for p in (parts / "checkpoints").iterdir()} == before


def test_a_checkpoint_whose_config_is_lost_goes_on_with_the_same(
  noisy_config, train_cores, parts
):
  _forget(parts, None)
  config = noisy_config(steps=4)
  # Moved, which changes nothing else.
  config.data.test = ""
  config.data.train += "/."
  train_cores(config, parts)
  assert [line["step"] for line in metrics.read(parts)] == [2, 3, 4]


def test_weights_of_another_model_field_are_refused(noisy_config, parts):
  """A field that changes no shape, such as the kind of dropout."""
  config = saved_config.load_config(parts)
  config.seed = 9
  config.model.fields["encoder"]["dropout"] = 0.5
  saved_config.save_config(parts, config)
  with pytest.raises(ValueError, match="config.json and the check.*dropout: 0"):
    opening.load_model(parts)


def test_a_resumed_run_keeps_its_labels(
  noisy_config, train_cores, parts, monkeypatch
):
  """The training texts, and so the labels learnt from them, may change."""
  before = (parts / "tokenizer.json").read_text()

  def learn_others(*_):
    raise AssertionError("a resumed run must not learn its labels again")

  monkeypatch.setattr(datasets, "make_tokenizer", learn_others)
  train_cores(noisy_config(steps=3), parts)
  assert (parts / "tokenizer.json").read_text() == before


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_that_was_taken(
  make_config, write_config, train_cores, tmp_path, number
):
  """A real process, stopped somewhere, goes on as if nothing had happened."""
  run = tmp_path / "run"
  # Adam would make large steps of the last bits of small gradients, which
  # differ between two processes.
  fields = {
    "clipping": {"method": "pcc"},
    "optimizer": {"name": "sgd", "learning_rate": 1e-3},
    "log_every": 5,
    "steps": 100_000,
    # A signal reaches the process, however many cores it traces.
    "cores": 1,
  }
  process = subprocess.Popen(
    [
      *(sys.executable, "-m", "launch.train"),
      *(write_config(**fields), f"--workdir={run}"),
    ],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  try:
    waited = time.monotonic() + 400
    while not (run / "metrics.jsonl").exists():
      assert process.poll() is None and time.monotonic() < waited
      time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=200)
  finally:
    process.kill()
  assert process.returncode == 130, stderr[-2000:]
  assert "goes on" in stdout and "Traceback" not in stderr
  ((stopped, _),) = checkpoints.checkpoint_paths(run)
  steps = [line["step"] for line in metrics.read(run)]
  assert steps == list(range(5, stopped + 1, 5))
  assert not (run / "summary.json").exists()

  if number == signal.SIGINT:
    return
  last = stopped + 2
  config = make_config(**{**fields, "steps": last})
  train_cores(config, run, cores=1)
  train_cores(config, tmp_path / "whole", cores=1)
  found, expected = state(run), state(tmp_path / "whole")
  for name, value in expected.items():
    if "VARIABLE_VALUE" in name:
      np.testing.assert_allclose(
        value, found[name], rtol=1e-3, atol=1e-5, err_msg=name
      )

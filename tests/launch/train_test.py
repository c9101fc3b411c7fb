"""launch.train: what it writes, and that every method trains."""

import json
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from launch.runs import (
  checkpoints,
  datasets,
  evaluating,
  experiment,
  metrics,
  opening,
)
from tf_pcc.data import batching

METHODS = experiment.METHODS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Folder of the runs of all methods."""
  return tmp_path_factory.mktemp("methods")


@pytest.fixture
def run_of(runs, make_config, train_cores, corpus):
  """A function method -> (directory, config) of its run, trained once."""

  def trained(method):
    config = make_config(
      clipping={"method": method, "bound": 5.0},
      data={"validation": str(corpus / "validation")},
      validate_every=2,
    )
    directory = runs / method
    if not directory.exists():
      train_cores(config, directory)
    return directory, config

  return trained


def strict(text):
  def refuse(token):
    raise AssertionError(f"{token} is not JSON")

  return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_a_whole_run(run_of, method):
  directory, config = run_of(method)
  assert {path.name for path in directory.iterdir()} == {
    *("config.json", "tokenizer.json", "metrics.jsonl", "summary.json"),
    *("tensorboard", "checkpoints", ".training.lock"),
  }
  summary = strict((directory / "summary.json").read_text())
  assert summary["steps"] == config.steps and summary["cores"] == 2
  assert summary["test_utterances"] == 5
  assert summary["validation_utterances"] == 3
  assert 0 < summary["seconds_per_step"] < 60
  assert summary["wer"] >= 0 and summary["cer"] >= 0
  assert len(summary["examples"]) == 3
  assert summary["clipping"]["method"] == method
  assert summary["shared_with_training"] == {"validation": 0, "test": 0}
  assert "5 utterances, outside the training set" in evaluating.report(summary)
  summary["shared_with_training"]["test"] = 2
  assert "5 utterances, 2 of them in the training set" in evaluating.report(
    summary
  )
  lines = [
    strict(line)
    for line in (directory / "metrics.jsonl").read_text().splitlines()
  ]
  assert [line["step"] for line in lines] == [1, 2, 3]
  assert ["validation_wer" in line for line in lines] == [False, True, False]
  assert all(math.isfinite(line["loss"]) for line in lines)
  assert [step for step, _ in checkpoints.checkpoint_paths(directory)] == [3]
  assert str(config.steps) in evaluating.report(summary)
  if method == "none":
    assert set(summary["clipping"]) == {"method"}
    return
  for line in lines:
    assert 0 < line["core_norm_min"] <= line["core_norm_max"]
    assert line["live_cores"] == 2 and line["skipped_steps"] == 0
    expected = {
      "apcc": line["core_norm_min"],
      "pcc": 5.0,
      "per_example": 5.0,
      "batch": None,
    }
    if method in expected:
      assert line["clip_bound"] == expected[method]


def test_tensorboard_has_the_same_numbers(run_of):
  directory, _ = run_of("apcc")
  (path,) = (directory / "tensorboard").iterdir()
  found = {}
  for event in tf.compat.v1.train.summary_iterator(str(path)):
    for value in event.summary.value:
      found[event.step, value.tag] = tf.make_ndarray(value.tensor).item()
  for line in metrics.read(directory):
    for name, value in line.items():
      if name != "step":
        assert found[line["step"], name] == pytest.approx(value)


def test_no_clipping_is_a_loop_written_by_hand(run_of, make_strategy):
  """Plain Keras: the mean of the cores' gradients, Adam, nothing else."""
  directory, config = run_of("none")
  splits = datasets.open_splits(config)
  tokenizer = datasets.make_tokenizer(config, splits["train"])
  batches = batching.Batches(splits["train"], tokenizer, 4, cores=2)
  strategy = make_strategy(2)
  with strategy.scope():
    model = experiment.make_model(config, tokenizer.vocab_size)
    optimizer = keras.optimizers.Adam(config.optimizer.learning_rate)
    optimizer.build(model.trainable_variables)
  data = strategy.distribute_datasets_from_function(
    lambda _: batches.dataset().rebatch(2)
  )

  def step(x, y):
    with tf.GradientTape() as tape:
      losses = model.example_losses(y, model(x, training=True))
      # Over the global batch: the optimizer adds up the cores.
      loss = tf.reduce_sum(losses) / 4
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)

  run = tf.function(lambda batch: strategy.run(step, args=batch))
  for batch, _ in zip(data, range(config.steps)):
    run(batch)
  trained, *_ = opening.load_model(str(directory))
  untrained = experiment.make_model(config, tokenizer.vocab_size)
  moved = 0
  for a, b, start in zip(
    trained.get_weights(), model.get_weights(), untrained.get_weights()
  ):
    # Where a gradient is zero but for rounding, Adam's step is not: a bias of
    # the keys, which the softmax does not see.
    np.testing.assert_allclose(a, b, atol=1e-4)
    moved += np.abs(a - start).max() > 1e-3
  assert moved > 10


def test_methods_differ(run_of):
  """Each has its own way to the third step."""
  found = {}
  for method in METHODS:
    line = metrics.read(run_of(method)[0])[-1]
    # A norm that has only risen is above both adaptive bounds: divided by the
    # bound, its gradient counts the same.
    found[method] = line["loss"], line.get("clip_bound")
  assert len(set(found.values())) == len(METHODS), found


def test_the_bar_says_that_the_first_step_is_traced(
  run_program, write_config, tmp_path
):
  arguments = [write_config(steps=2, cores=1), f"--workdir={tmp_path / 'run'}"]
  first = _bars(run_program("train", *arguments))
  assert first[0].startswith("tracing the first step:   0%|")
  assert first[-1].startswith("100%|")
  assert "bound=" in first[-1] and "loss=" in first[-1]
  # The same command again finds the run at its end.
  assert _bars(run_program("train", *arguments))[-1].startswith("100%|")


def test_the_bar_shows_no_bound_where_there_is_none(
  run_program, write_config, tmp_path
):
  config = write_config(steps=2, cores=1, clipping={"method": "none"})
  last = _bars(run_program("train", config, f"--workdir={tmp_path / 'run'}"))[
    -1
  ]
  assert "loss=" in last and "bound" not in last


def _bars(done):
  assert done.code == 0, done.stderr
  shown = re.split(r"[\r\n]", done.stderr)
  return [line.strip() for line in shown if "/2 [" in line]


def test_steps_in_one_call_are_the_same_steps(
  run_of, make_config, train_cores, tmp_path
):
  config = make_config(
    clipping={"method": "pcc", "bound": 5.0}, steps_per_call=2, log_every=2
  )
  train_cores(config, tmp_path)
  once = {line["step"]: line for line in metrics.read(run_of("pcc")[0])}
  several = metrics.read(tmp_path)
  assert [line["step"] for line in several] == [2, 3]
  for line in several:
    for name in ("core_norm_min", "core_norm_max", "learning_rate"):
      np.testing.assert_allclose(line[name], once[line["step"]][name], 1e-3)
  mean = (once[1]["loss"] + once[2]["loss"]) / 2
  np.testing.assert_allclose(several[0]["loss"], mean, rtol=1e-4)


def test_speech_is_made_where_the_config_asks(
  make_config, train_cores, tmp_path
):
  """Synthetic speech, from text to error rate, on one core."""
  config = make_config(
    steps=1,
    data={"kind": "synthetic", "cache": str(tmp_path / "cache")},
    clipping={"microbatches": 2},
  )
  config.data.augmentation.speeds = (0.9, 1.1)
  config.data.augmentation.pitches = (0.9, 1.1)
  config.data.augmentation.noise_db = (10.0, 20.0)
  config.data.utterances = {"train": 6, "validation": 0, "test": 2}
  summary = train_cores(config, tmp_path / "run", cores=1)
  assert summary["training_utterances"] == 6
  assert list(summary["buckets_seconds"].values()) == [1.0]
  # The one bucket holds the slowest reading of the longest.
  opened = datasets.open_splits(config)["train"]
  slowest = math.ceil(max(opened.samples) / 0.9)
  assert float(*summary["buckets_seconds"]) == pytest.approx(
    slowest / 16000, rel=1e-4
  )
  assert summary["test_utterances"] == 2
  assert "validation_wer" not in summary and summary["cores"] == 1

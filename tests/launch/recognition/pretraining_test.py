"""A best_rq run, and a recogniser that starts from it."""

import json

import numpy as np
import pytest

from launch.recognition import driver, pretraining
from launch.runs import checkpoints, evaluating, experiment, metrics, opening
from tf_pcc.data import records

ENCODER = {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3}


def _pretraining(make_config, corpus, **fields):
  config = make_config(
    data={"validation": str(corpus / "validation")}, validate_every=2, **fields
  )
  config.model.name = "best_rq"
  config.model.fields = {
    "encoder": ENCODER,
    "features": {"mels": 16},
    "codebook_size": 16,
    "mask_ms": 80.0,
  }
  return config


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  return tmp_path_factory.mktemp("best_rq")


@pytest.fixture
def run(directory, make_config, train_cores, corpus):
  """Directory of a best_rq run of three steps, and its summary."""
  if not (directory / "summary.json").exists():
    train_cores(_pretraining(make_config, corpus), directory)
  return directory, json.loads((directory / "summary.json").read_text())


def _weights(model):
  return [v.numpy() for v in [*model.log_mel.weights, *model.encoder.weights]]


def test_summary_and_log_tell_masked_frames(run):
  directory, summary = run
  assert 0 <= summary["masked_accuracy"] <= 1
  assert 0 < summary["codes_in_use"] <= 1
  assert summary["masked_loss"] > 0 and summary["test_utterances"] == 5
  assert "wer" not in summary and "validation_masked_loss" in summary
  assert "fine-tune" in evaluating.report(summary)
  lines = metrics.read(str(directory))
  for line in lines:
    assert {"loss", "masked_accuracy", "codes_in_use"} <= set(line)
  assert "validation_masked_accuracy" in lines[1]


def test_score_is_that_of_the_network(run, corpus):
  directory, summary = run
  model, tokenizer, _, _ = opening.load_model(str(directory), recogniser=False)
  test = records.Records(str(corpus / "test"))
  codes, right = [], []
  for row in range(len(test)):
    audio = (test.read(row) / 2**15).astype(np.float32)
    outputs = model(
      {"audio": audio[None], "audio_length": np.array([len(audio)])}
    )
    masked = outputs["masked"].numpy()
    best = np.argmax(outputs["logits"], axis=-1)
    right += (best == outputs["codes"].numpy())[masked].tolist()
    codes += outputs["codes"].numpy()[masked].tolist()
  assert summary["masked_frames"] == len(right) > 5
  np.testing.assert_allclose(summary["masked_accuracy"], np.mean(right))
  assert summary["codes_in_use"] == len(set(codes)) / 16
  for batch in (2, 5):
    again = pretraining.score(driver.Driver(model, tokenizer, batch), test)
    np.testing.assert_allclose(again["masked_loss"], summary["masked_loss"])


def test_a_recogniser_starts_from_it(run, make_config, train_cores, tmp_path):
  source = pretraining.read(str(run[0]))
  config = make_config(steps=2, init_from=str(run[0]))
  # Steps too small to change anything.
  config.optimizer.name, config.optimizer.learning_rate = "sgd", 1e-30
  train_cores(config, tmp_path)
  model, *_ = opening.load_model(str(tmp_path))
  fresh = experiment.make_model(config, model.config["vocab_size"])
  differ = 0
  for ours, theirs, new in zip(
    _weights(model), _weights(source), _weights(fresh), strict=True
  ):
    np.testing.assert_array_equal(ours, theirs)
    differ += np.any(ours != new)
  assert differ > 10
  np.testing.assert_array_equal(model.head.kernel, fresh.head.kernel)
  # A run that goes on keeps its own weights.
  config.steps, config.init_from = 3, str(run[0])
  config.optimizer.learning_rate = 1e-30
  train_cores(config, tmp_path)
  assert checkpoints.checkpoint_paths(str(tmp_path))[-1][0] == 3


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"features": {"mels": 20}}, "features.mels=16 there, 20 here"),
    ({"encoder": {"blocks": 2}}, "None there"),
    ({"encoder": {"kernel": 5}}, r"depthwise \(3, 16\) there.*\(5, 16\) here"),
    ({"features": {"normalization": "global"}}, "='utterance' there, 'global'"),
  ],
)
def test_what_does_not_fit_is_refused(run, make_config, fields, message):
  config = make_config()
  for part, changes in fields.items():
    config.model.fields[part].update(changes)
  model = experiment.make_model(config, 5)
  before = model.get_weights()
  with pytest.raises(ValueError, match=f"init_from.*{message}"):
    pretraining.copy_encoder(pretraining.read(str(run[0])), model)
  for ours, theirs in zip(model.get_weights(), before):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("program", ["evaluate", "transcribe", "audit"])
def test_programs_ask_to_fine_tune_first(run, run_program, program, corpus):
  arguments = {
    "evaluate": [f"--data={corpus / 'test'}"],
    "transcribe": ["a.wav"],
    "audit": [],
  }[program]
  end = run_program(program, f"--workdir={run[0]}", *arguments)
  assert "fine-tune first" in end.complaint
  assert f"--config.init_from={run[0]}" in end.complaint


def test_no_run_to_start_from(make_config, train_cores, tmp_path):
  config = make_config(init_from=str(tmp_path / "nothing"))
  with pytest.raises(ValueError, match="Received: init_from=.*nothing"):
    train_cores(config, tmp_path / "run")

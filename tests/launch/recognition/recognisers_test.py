"""What can be audited: losses against NumPy, signatures, functions."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from launch.recognition import recognisers
from models import registry
from tf_pcc.data import records, text

LINES = ("A B", "B", "B A B", "A A")


def _reference_loss(logits, labels):
  """-log P(labels) by the forward recursion of CTC, float64."""
  log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
  states = [0]
  for label in labels:
    states += [label, 0]
  alpha = np.full(len(states), -np.inf)
  alpha[:2] = log_p[0, states[:2]]
  for frame in log_p[1:]:
    new = np.full(len(states), -np.inf)
    for s, label in enumerate(states):
      paths = [alpha[s]]
      if s:
        paths.append(alpha[s - 1])
      if s > 1 and label and label != states[s - 2]:
        paths.append(alpha[s - 2])
      new[s] = np.logaddexp.reduce(paths) + frame[label]
    alpha = new
  return -np.logaddexp(alpha[-1], alpha[-2])


@pytest.fixture(scope="module")
def tokenizer():
  return text.build_tokenizer("word", LINES)


@pytest.fixture
def model(tokenizer):
  return registry.build_model(
    "conformer_ctc",
    {
      "encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3},
      "features": {"mels": 16},
    },
    tokenizer.vocab_size,
  )


@pytest.fixture
def speech():
  random = np.random.default_rng(0)
  noise = [random.uniform(-0.3, 0.3, n) for n in (4800, 8000, 16000, 6400)]
  return records.MemoryRecords(noise, LINES)


def test_losses_are_nats_per_token_whatever_the_batch(model, tokenizer, speech):
  expected, best = [], []
  for i, line in enumerate(LINES):
    audio = (speech.read(i) / 2**15).astype(np.float32)
    outputs = model(
      {"audio": audio[None], "audio_length": np.array([len(audio)])}
    )
    logits = np.asarray(outputs["logits"], np.float64)[0]
    labels = tokenizer.encode(line)
    expected.append(_reference_loss(logits, labels) / len(labels))
    path = np.argmax(logits, axis=1)
    best.append([a for a, b in zip(path, [0, *path]) if a != b and a])
  for batch in (3, 64):
    found = recognisers.Recogniser(model, tokenizer, batch)
    losses, transcripts = found.score(speech)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert transcripts == [tokenizer.decode(ids) for ids in best]
  assert found.transcribe(speech) == transcripts


def test_text_outside_the_vocabulary_has_no_loss(model, tokenizer):
  speech = records.MemoryRecords([np.ones(8000) * 0.1] * 2, ["A", "Z"])
  losses, transcripts = recognisers.Recogniser(model, tokenizer).score(speech)
  assert np.isfinite(losses[0]) and np.isnan(losses[1])
  assert transcripts[0] == transcripts[1]


class _Exported(tf.Module):
  """Hears how many samples there are."""

  def __init__(self, with_lengths=True, strings=True):
    super().__init__()
    waveforms = tf.TensorSpec([None, None], tf.float32, "waveforms")
    lengths = tf.TensorSpec([None], tf.int32, "lengths")

    def answer(count):
      count = tf.cast(count, tf.int32)
      heard = tf.strings.as_string(count) if strings else count
      return {"transcripts": heard, "scores": tf.cast(count, tf.float32)}

    if with_lengths:

      @tf.function(input_signature=[waveforms, lengths])
      def serve(waveforms, lengths):
        del waveforms
        return answer(lengths)

    else:

      @tf.function(input_signature=[waveforms])
      def serve(waveforms):
        return answer(tf.math.count_nonzero(waveforms, axis=1))

    self.serve = serve


@pytest.mark.parametrize("with_lengths", [True, False])
def test_saved_model_transcribes(tmp_path, with_lengths):
  module = _Exported(with_lengths)
  tf.saved_model.save(module, str(tmp_path / "m"), module.serve)
  transcribe = recognisers.saved_model_function(str(tmp_path / "m"))
  sounds = [np.ones(n, np.float32) for n in (5, 9, 2)]
  assert transcribe(sounds, 16000) == ["5", "9", "2"]


def test_saved_model_without_strings_is_refused(tmp_path):
  module = _Exported(strings=False)
  tf.saved_model.save(module, str(tmp_path / "m"), module.serve)
  with pytest.raises(ValueError, match="to strings.*waveforms.*transcripts"):
    recognisers.saved_model_function(str(tmp_path / "m"))
  with pytest.raises(ValueError, match="saved_model.pb.*nothing"):
    recognisers.saved_model_function(str(tmp_path / "nothing"))


def test_functions_by_name(tmp_path, monkeypatch):
  (tmp_path / "heard_elsewhere.py").write_text("def hear(w, r): return []\n")
  monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
  hear = recognisers.import_function("heard_elsewhere:hear")
  assert hear([], 16000) == []
  for wrong in ("heard_elsewhere", "heard_elsewhere:no", "nowhere:f", ""):
    with pytest.raises(ValueError, match="MODULE:FUNCTION.*transcribe="):
      recognisers.import_function(wrong)

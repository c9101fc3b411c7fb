"""The parts of the programs on a transducer with a CTC layer."""

import math

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from launch.recognition import driver, searching
from launch.runs import metrics, opening
from models import registry
from tf_pcc.data import records, text


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  return tmp_path_factory.mktemp("hybrid")


@pytest.fixture
def trained(directory, make_config, train_cores):
  """Model and tokenizer of a run of three steps, with the pruned loss."""
  if not (directory / "run").exists():
    config = make_config(cores=1)
    config.model.name = "hybrid"
    config.model.fields = {
      **config.model.fields,
      "prediction": "stateless",
      "prediction_dim": 8,
      "joint_dim": 8,
      "loss": "pruned",
      "pruning": {"window": 4, "simple_scale": 0.1},
      # Or three steps would leave a model that says blanks alone.
      "blank_prior": 0.25,
    }
    config.clipping.microbatches = 2
    train_cores(config, directory / "run", cores=1)
  model, tokenizer, *_ = opening.load_model(str(directory / "run"))
  return model, tokenizer


@pytest.fixture
def speech(recordings):
  waveforms = [soundfile.read(path)[0] for path in recordings]
  return records.MemoryRecords(waveforms, list(recordings.values()))


def search(loaded, speech, **fields):
  searcher = searching.Searcher(
    driver.Driver(*loaded, 3), searching.Search(**fields)
  )
  found = dict(searcher(driver.sounds_of(speech), speech.sample_rate))
  return [found[row] for row in range(len(speech))]


def test_trains_is_restored_and_is_searched(trained, directory, speech):
  rows = metrics.read(str(directory / "run"))
  losses = [row["loss"] for row in rows if "loss" in row]
  assert len(losses) == 3 and all(map(math.isfinite, losses))
  recognised = search(trained, speech)
  greedy = [h.text for h in recognised]
  assert greedy == driver.Driver(*trained).transcribe(speech) and any(greedy)
  # What the audit asks for.
  losses, transcripts = driver.Driver(*trained).score(speech)
  assert transcripts == greedy
  assert np.all(np.isfinite(losses)) and np.all(losses > 0)


def test_pure_transducers_tell_times_too(speech):
  keras.utils.set_random_seed(0)
  fields = {"encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 5}}
  fields |= {"prediction_dim": 16, "joint_dim": 16, "blank_prior": 0.25}
  tokenizer = text.build_tokenizer("character", speech.texts)
  model = registry.build_model(
    "conformer_transducer", fields, tokenizer.vocab_size
  )
  model.build_from_signature()
  recognised = search((model, tokenizer), speech, timestamps=True)
  assert any(h.text for h in recognised)
  for h, samples in zip(recognised, speech.samples):
    assert [w["word"] for w in h.words] == h.text.split()
    times = [t for w in h.words for t in (w["start"], w["end"])]
    assert times == sorted(times)
    assert all(0 <= t <= samples / speech.sample_rate + 0.04 for t in times)


def test_arcs_of_an_alignment_are_those_of_the_search():
  keras.utils.set_random_seed(0)
  fields = {"encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 5}}
  model = registry.build_model(
    "conformer_transducer", {**fields, "prediction_dim": 16, "joint_dim": 16}, 5
  )
  model.build_from_signature()
  encoded = np.random.default_rng(0).normal(size=[3, 16]).astype(np.float32)
  labels = [4, 1]
  blank, label = model.label_log_probs(encoded, labels)
  output, state = model.prediction.start(1)
  for u in range(3):
    for t in range(3):
      logits = model.joint(model.joint.of_encoder(encoded[t : t + 1]), output)
      arcs = tf.nn.log_softmax(logits)[0]
      np.testing.assert_allclose(blank[t, u], arcs[0], atol=1e-5)
      if u < 2:
        np.testing.assert_allclose(label[t, u], arcs[labels[u]], atol=1e-5)
    if u < 2:
      output, state = model.prediction.step(
        tf.constant(labels[u : u + 1]), state
      )


def test_n_best_and_timestamps(trained, speech):
  timed = 0
  for h in search(trained, speech, nbest=3, beam_width=4, timestamps=True):
    scores = [row["score"] for row in h.nbest]
    assert h.nbest[0]["text"] == h.text
    assert scores == sorted(scores, reverse=True) and max(scores) <= 1e-4
    # None where the labels are too many for a path of CTC.
    words = [w["word"] for w in h.words]
    assert words in ([], h.text.split())
    timed += len(words)
  assert timed

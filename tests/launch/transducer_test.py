"""The programs' parts on a transducer with a CTC layer: train, hear, score."""

import math

import numpy as np
import pytest
import soundfile

from launch import metrics, recognisers, scoring, searching, workdir
from tf_pcc.data import records


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  return tmp_path_factory.mktemp("hybrid")


@pytest.fixture
def trained(directory, make_config, train_cores):
  """Model and tokenizer of a run of three steps on two cores."""
  if not (directory / "run").exists():
    config = make_config()
    config.model.name = "hybrid"
    config.model.fields = {
      **config.model.fields,
      "prediction": "stateless",
      "prediction_dim": 8,
      "joint_dim": 8,
      # Or three steps would leave a model that says blanks alone.
      "blank_prior": 0.25,
    }
    config.clipping.microbatches = 2
    train_cores(config, directory / "run")
  model, tokenizer, *_ = workdir.load_model(str(directory / "run"))
  return model, tokenizer


@pytest.fixture
def speech(recordings):
  waveforms = [soundfile.read(path)[0] for path in recordings]
  return records.MemoryRecords(waveforms, list(recordings.values()))


def test_trains_is_restored_and_is_heard(trained, directory, speech):
  rows = metrics.read(str(directory / "run"))
  losses = [row["loss"] for row in rows if "loss" in row]
  assert len(losses) == 3 and all(map(math.isfinite, losses))
  heard = searching.hear(*trained, speech, 3, searching.Search())
  greedy = [h.text for h in heard]
  assert greedy == scoring.transcribe(*trained, speech) and any(greedy)
  # What the audit asks for.
  losses, transcripts = recognisers.Recogniser(*trained).score(speech)
  assert transcripts == greedy
  assert np.all(np.isfinite(losses)) and np.all(losses > 0)


def test_n_best_and_timestamps(trained, speech):
  search = searching.Search(nbest=3, beam_width=4, timestamps=True)
  timed = 0
  for h in searching.hear(*trained, speech, 3, search):
    scores = [row["score"] for row in h.nbest]
    assert h.nbest[0]["text"] == h.text
    assert scores == sorted(scores, reverse=True) and max(scores) <= 1e-4
    # None where the labels are too many for a path of CTC.
    words = [w["word"] for w in h.words]
    assert words in ([], h.text.split())
    timed += len(words)
  assert timed

"""An epoch of utterances on disk, in batches, to log-mel features."""

import importlib
import os
import tempfile
import wave
from typing import Any

import numpy as np
import tensorflow as tf

from launch.benchmark.peers import packages, turns
from models.layers import features
from tf_pcc.data import audio, batching, records, text
from tf_pcc.data.utterances import Utterance

_TEXT = "A"


def ours(utterances: int, seconds: float, batch: int) -> turns.Side:
  """From this package's records, 16-bit PCM, by its layer.

  Args:
    utterances: int, of the epoch.
    seconds: float, of each.
    batch: int, utterances of a batch.

  Returns:
    The side; its output is the number of utterances.
  """
  folder = tempfile.TemporaryDirectory()
  directory = os.path.join(folder.name, "records")
  pairs = (
    (Utterance(name, "", _TEXT), waveform)
    for name, waveform in _waveforms(utterances, seconds)
  )
  records.write_records(pairs, directory, progress=False)
  source = records.Records(directory)
  tokenizer = text.build_tokenizer("character", source.texts)
  batches = batching.Batches(source, tokenizer, batch)
  layer = features.LogMel()
  log_mel = tf.function(layer, autograph=False)

  def run(kept=folder):
    del kept  # The folder is there as long as this function is.
    seen = 0
    for x, _ in batches.dataset(stop_step=utterances // batch):
      found, _ = log_mel(x["audio"], x["audio_length"])
      seen += found.shape[0]
    return seen

  return turns.Side(run, outputs=[np.array([run()])])


def lhotses(utterances: int, seconds: float, batch: int) -> turns.Side:
  """lhotse's: WAV files, computed on the fly by its Fbank.

  Args:
    utterances: as of `ours`, and so are the others.
    seconds: float.
    batch: int.

  Returns:
    The side.
  """
  torch: Any = packages.require("torch")
  lhotse: Any = packages.require("lhotse")
  dataset: Any = importlib.import_module("lhotse.dataset")
  folder = tempfile.TemporaryDirectory()
  cuts = []
  for name, waveform in _waveforms(utterances, seconds):
    path = os.path.join(folder.name, f"{name}.wav")
    _write(path, waveform)
    recording = lhotse.Recording.from_file(path, recording_id=name)
    said = lhotse.SupervisionSegment(name, name, 0, seconds, text=_TEXT)
    cut = lhotse.MonoCut(
      name, 0, seconds, 0, recording=recording, supervisions=[said]
    )
    cuts.append(cut)
  sampler = dataset.SimpleCutSampler(
    lhotse.CutSet.from_cuts(cuts), max_cuts=batch, shuffle=True
  )
  fbank = lhotse.Fbank(lhotse.FbankConfig(num_filters=80))
  loader = torch.utils.data.DataLoader(
    dataset.K2SpeechRecognitionDataset(
      input_strategy=dataset.OnTheFlyFeatures(fbank)
    ),
    sampler=sampler,
    batch_size=None,
  )

  def run(kept=folder):
    del kept
    return sum(len(found["inputs"]) for found in loader)

  return turns.Side(run, outputs=[np.array([run()])])


def _waveforms(utterances, seconds):
  rng = np.random.default_rng(0)
  samples = round(seconds * audio.SAMPLE_RATE)
  for row in range(utterances):
    waveform = rng.integers(-999, 999, samples).astype(np.int16)
    yield f"u{row:04d}", waveform


def _write(path, waveform):
  with wave.open(path, "wb") as file:
    file.setparams((1, 2, audio.SAMPLE_RATE, 0, "NONE", "not compressed"))
    file.writeframes(waveform.astype("<i2").tobytes())

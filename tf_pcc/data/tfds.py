"""LibriSpeech from TensorFlow Datasets, if that package is installed."""

import os
import re

import numpy as np

from tf_pcc import extras
from tf_pcc.data import audio
from tf_pcc.data.manifests import Reading
from tf_pcc.data.normalizers import Dropped
from tf_pcc.data.utterances import Corpus, Utterance

_RATE = 16000  # of every TFDS librispeech configuration


def read(name: str, reading: Reading) -> Corpus:
  """Lists the utterances of a TFDS split.

  Args:
    name: "tfds:librispeech/CONFIG/SPLIT", such as
      "tfds:librispeech/default/train_clean100". TFDS must have prepared it, or
      downloads it.
    reading: A `manifests.Reading`.

  Returns:
    A `Corpus`, in the order of TFDS.

  Raises:
    ValueError: If the name has another form.
    ImportError: If TFDS is not installed.
  """
  match = re.fullmatch(r"tfds:(librispeech/[\w.:]+)/(\w+)", name)
  if not match:
    raise ValueError(
      f"`path` must be tfds:librispeech/CONFIG/SPLIT. Received: path={name}"
    )
  tfds = extras.load("tensorflow_datasets", f"Reading {name}", "")
  builder, split = match.groups()

  def load(part):
    return tfds.load(builder, split=part, shuffle_files=False)

  def without_speech(example):
    return {key: example[key] for key in ("id", "text", "speaker_id")}

  rows = load(split).map(without_speech).as_numpy_iterator()
  utterances, dropped = [], Dropped()
  for row in rows:
    key, text = row["id"].decode(), row["text"].decode()
    plain = reading.normalize(text)
    dropped.add(key, text, plain)
    utterances.append(Utterance(key, "", plain, str(row["speaker_id"])))

  def waveforms(start, stop, sample_rate):
    part = load(f"{split}[{start}:{stop}]")
    for row in part.map(lambda example: example["speech"]).as_numpy_iterator():
      if not row.size:
        yield ValueError("The audio must not be empty: it has zero samples.")
      else:
        samples = audio.to_float(row.astype(np.int16))
        yield audio.resample(samples, _RATE, sample_rate)

  return Corpus(
    name=os.path.basename(builder) + "-" + split,
    root=name,
    utterances=tuple(utterances),
    dropped=dropped,
    reader=waveforms,
  )

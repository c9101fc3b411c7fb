"""LibriSpeech from TensorFlow Datasets, if that package is installed."""

import dataclasses
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
  builder, split = match.groups()

  def without_speech(example):
    return {key: example[key] for key in ("id", "text", "speaker_id")}

  rows = _load(builder, split).map(without_speech).as_numpy_iterator()
  utterances, dropped = [], Dropped()
  for row in rows:
    key, text = row["id"].decode(), row["text"].decode()
    plain = reading.normalize(text)
    dropped.add(key, text, plain)
    utterances.append(Utterance(key, "", plain, str(row["speaker_id"])))

  return Corpus(
    name=os.path.basename(builder) + "-" + split,
    root=name,
    utterances=tuple(utterances),
    dropped=dropped,
    reader=_Reader(builder, split),
  )


def _load(builder, split):
  tfds = extras.load("tensorflow_datasets", f"Reading tfds:{builder}", "")
  return tfds.load(builder, split=split, shuffle_files=False)


@dataclasses.dataclass(frozen=True)
class _Reader:
  """Reads the waveforms of a split from a place on; see `Corpus.reader`."""

  builder: str
  split: str
  first: int = 0

  def __call__(self, start, stop, sample_rate):
    rows = f"{self.split}[{self.first + start}:{self.first + stop}]"
    sounds = _load(self.builder, rows).map(lambda example: example["speech"])
    for row in sounds.as_numpy_iterator():
      if not row.size:
        yield ValueError("The audio must not be empty: it has zero samples.")
      else:
        samples = audio.to_float(row.astype(np.int16))
        yield audio.resample(samples, _RATE, sample_rate)

  def part(self, start, stop):
    return dataclasses.replace(self, first=self.first + start)

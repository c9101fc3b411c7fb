"""From `config.data`, `config.tokenizer` and paths to records and texts."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Protocol

import tensorflow as tf
from absl import logging
from ml_collections import config_dict

from launch.runs import normalizing
from tf_pcc import replicas
from tf_pcc.data import (
  audio,
  augmentation,
  corpora,
  joining,
  mixing,
  normalizers,
  records,
  synthetic,
  text,
)
from tf_pcc.data.lines import read_lines
from tf_pcc.data.manifests import Reading

KINDS = ("synthetic", "digits", "records")
SPLITS = ("train", "validation", "test")
_READERS = ("auto", "python", "tensorflow")
# Shares of each speaker's recordings of a digit; those of test are the same
# with and without a validation set.
_SHARES = {"train": 0.8, "test": 0.2}
_SHARES_WITH_VALIDATION = {"train": 0.7, "validation": 0.1, "test": 0.2}


def open_splits(
  config: config_dict.ConfigDict, progress: bool = True
) -> dict[str, records.Records | mixing.MixedRecords]:
  """The records of each split, made first where they are synthetic or joined.

  Args:
    config: the experiment's `ConfigDict`.
    progress: bool, whether to show a progress bar while they are made.

  Returns:
    dict from "train", "validation" and "test" to `records.Records`; a split
    that the config does not name is missing.

  Raises:
    ValueError: If the corpus is not there or a field does not suit it.
  """
  data = config.data
  if data.kind not in KINDS:
    raise ValueError(
      f"data.kind must be one of {KINDS}. Received: data.kind={data.kind!r}"
    )
  if data.kind == "records":
    if not data.train:
      raise ValueError(
        "data.train must be a directory of records: make it with "
        "python -m launch.prepare --corpus=... --output=DIR. "
        f"Received: data.train={data.train!r}"
      )
    paths = {name: data[name] for name in SPLITS if data[name]}
    if not records.is_records(data.train):
      paths["train"] = [path.strip() for path in data.train.split(",")]
  else:
    cache = os.path.expanduser(data.cache)
    counts = _counts(data.utterances)
    if data.kind == "synthetic":
      spec = synthetic.SyntheticCorpus(
        seed=data.corpus_seed,
        splits=counts,
        words=synthetic.COMMON_WORDS[: data.words or None],
        voices=tuple(data.voices),
        pitch=tuple(data.pitch),
        rate=tuple(data.rate),
      )
      paths = synthetic.generate(spec, cache, progress=progress)
    else:
      if not data.manifest:
        raise ValueError(
          "data.manifest must be a manifest of recorded single words. "
          f"Received: data.manifest={data.manifest!r}"
        )
      if len(data.string_words) != 2:
        raise ValueError(
          "data.string_words must be the fewest and the most words of a "
          f"string. Received: data.string_words={tuple(data.string_words)}"
        )
      spec = joining.JoinedCorpus(
        data.manifest,
        splits=counts,
        shares=_SHARES_WITH_VALIDATION if "validation" in counts else _SHARES,
        min_words=data.string_words[0],
        max_words=data.string_words[1],
        seed=data.corpus_seed,
        held_out=tuple(data.held_out),
      )
      paths = joining.generate(spec, cache, progress=progress)
  normalizers.get(data.normalizer)  # Unknown ones are an error.
  if config.canaries.insert and data.normalizer != "upper":
    raise ValueError(
      "Canaries are in upper case: they need data.normalizer=upper. Received: "
      f"data.normalizer={data.normalizer!r}, canaries.insert=True"
    )
  splits = {name: _open(path, data.weights) for name, path in paths.items()}
  for name, split in splits.items():
    _check_rate(split, paths[name])
    dropped = normalizing.normalize(split, data.normalizer)
    if dropped.counts:
      logging.warning(
        "data.%s: the normalizer %s leaves out or changes %s in its "
        "transcripts; if the records were prepared with another one, "
        "data.normalizer must be that one",
        name,
        data.normalizer,
        dropped,
      )
    # Found now, not when the trained model is to be scored.
    if not any(split.texts):
      raise ValueError(
        f"The records for data.{name} must hold utterances with transcripts. "
        f"Received: data.{name}={paths[name]!r}, {len(split)} utterances"
      )
  return splits


def make_augmentation(
  config: config_dict.ConfigDict,
) -> augmentation.Augmentation:
  """How the recordings of training are changed, from `config.data`.

  Args:
    config: the experiment's `ConfigDict`.

  Returns:
    `augmentation.Augmentation`.

  Raises:
    ValueError: If a field is out of range.
  """
  fields = config.data.augmentation
  return augmentation.Augmentation(
    *(tuple(fields[name]) for name in ("speeds", "pitches", "noise_db"))
  )


def read_on_hosts(
  config: config_dict.ConfigDict,
  strategy: tf.distribute.Strategy,
  context: tf.distribute.InputContext,
) -> bool:
  """Whether TensorFlow's ops read the training audio: `data.read_by`.

  Args:
    config: the experiment's `ConfigDict`.
    strategy: tf.distribute strategy.
    context: of one host's data set.

  Returns:
    With "auto" True where this program drives several hosts.

  Raises:
    ValueError: If the field has an unknown value.
  """
  choice = config.data.read_by
  if choice not in _READERS:
    raise ValueError(
      f"data.read_by must be one of {_READERS}. Received: "
      f"data.read_by={choice!r}"
    )
  several = context.num_input_pipelines > 1
  alone = not replicas.spans_workers(strategy)
  return choice == "tensorflow" or (choice == "auto" and several and alone)


def _open(path, weights):
  if isinstance(path, str):
    return records.Records(path)
  if len(path) == 1 and not weights:
    return records.Records(path[0])
  return mixing.MixedRecords([records.Records(one) for one in path], weights)


def _check_rate(opened, path):
  if opened.sample_rate != audio.SAMPLE_RATE:
    raise ValueError(
      f"Records must be at {audio.SAMPLE_RATE} Hz, as the models' features "
      "are: prepare them without --sample_rate. Received: "
      f"sample_rate={opened.sample_rate}, records={path}"
    )


def _counts(utterances):
  """The utterances of each split to make, splits of none left out."""
  counts = utterances.to_dict()
  unknown = sorted(set(counts) - set(SPLITS))
  if unknown or not counts.get("train") or min(counts.values()) < 0:
    raise ValueError(
      f"data.utterances must be counts of {SPLITS}, that of train above 0. "
      f"Received: data.utterances={counts}"
    )
  return {name: int(count) for name, count in counts.items() if count}


@dataclasses.dataclass(frozen=True)
class Speech:
  """Transcribed speech that is read as it is needed.

  Attributes:
    ids: tuple of names.
    texts: tuple of transcripts.
    sounds: function () -> iterator over float or int16 [samples], or the
      ValueError that says why it cannot be read, of each utterance.
  """

  ids: tuple[str, ...]
  texts: tuple[str, ...]
  sounds: Callable


def open_any(
  path: str | os.PathLike,
  reading: Reading | None = None,
  max_missing_share: float = 0.05,
  verify: bool = False,
) -> Speech:
  """Speech for evaluation from whatever holds speech and transcripts.

  Args:
    path: a records directory, or anything that `corpora.read_corpus` reads.
    reading: `manifests.Reading`. Default: its defaults.
    max_missing_share: of a corpus, as `corpora.read_corpus` takes.
    verify: bool, whether a records directory is read and compared whole first.

  Returns:
    `Speech`.

  Raises:
    ValueError: If there is nothing to evaluate at `path`.
  """
  if records.is_records(path):
    opened = records.Records(path)
    _check_rate(opened, path)
    if verify:
      opened.verify()
    normalizing.normalize(opened, (reading or Reading()).normalize)
    return Speech(
      opened.ids,
      opened.texts,
      lambda: (opened.read(row) for row in range(len(opened))),
    )
  corpus = corpora.read_corpus(path, max_missing_share, reading)
  return Speech(
    tuple(utterance.id for utterance in corpus),
    tuple(utterance.text for utterance in corpus),
    corpus.waveforms,
  )


def read_texts(
  path: str | os.PathLike, ids: bool = False, reading: Reading | None = None
) -> list[str]:
  """The transcripts of a corpus, of a records directory, or of a text file.

  Args:
    path: Where they are.
    ids: Whether each line of a .txt file begins with an id. Default False.
    reading: `manifests.Reading`. Default: its defaults.

  Returns:
    List of normalised strings.

  Raises:
    ValueError: If there is nothing to read at `path`.
  """
  path = os.fspath(path)
  reading = reading or Reading()
  if records.is_records(path):
    return list(map(reading.normalize, records.Records(path).texts))
  if not path.endswith(".txt"):
    corpus = corpora.read_corpus(path, reading=reading)
    return [utterance.text for utterance in corpus]
  lines = list(read_lines(path))
  if ids:
    lines = [line.partition(" ")[2] for line in lines]
  return list(map(reading.normalize, lines))


class WithTexts(Protocol):
  """What a tokenizer is learnt from: records, or anything with transcripts."""

  @property
  def texts(self) -> Sequence[str]:
    """Transcripts."""
    ...


def make_tokenizer(
  config: config_dict.ConfigDict, train: WithTexts | None
) -> text.Tokenizer:
  """The tokenizer a config names, or one learnt from the training texts.

  Args:
    config: the experiment's `ConfigDict`.
    train: the records of the training set; None where the config names one.

  Returns:
    A `tf_pcc.data.text.Tokenizer`.

  Raises:
    ValueError: If it has not the digest that the config names.
  """
  fields = config.tokenizer
  if fields.path:
    made = text.load_tokenizer(fields.path)
  else:
    texts = () if train is None else train.texts
    made = text.build_tokenizer(fields.kind, texts, fields.size)
  if fields.digest and made.digest() != fields.digest:
    raise ValueError(
      "tokenizer.digest must be that of the tokenizer: name its file with "
      "tokenizer.path, or leave the digest empty. Received: tokenizer.digest="
      f"{fields.digest}, made={made.digest()}"
    )
  return made

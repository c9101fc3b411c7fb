"""A spoken corpus made by speech synthesis: seeded, cached, hashed.

Sentences are random words, all distinct, so no test sentence is in the training
set. The same specification gives the same samples on one version of the voice
engine, whatever the number of processes.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import logging

from tf_pcc import extras, locks
from tf_pcc.data import tts
from tf_pcc.data.utterances import Utterance
from tf_pcc.data.writing import write_shards

_FORMAT = 1

# Frequent English words, no two of which sound alike.
COMMON_WORDS = tuple(
  (pathlib.Path(__file__).parent / "common_words.txt").read_text().split()
)

NANO_VOICES = ("nanotts:en-US", "nanotts:en-GB")


@dataclasses.dataclass(frozen=True)
class SyntheticCorpus:
  """What to make; equal specifications give equal corpora.

  Attributes:
    seed: Of sentences and voices. Default 0.
    splits: Utterances in each split. Default: train 8000, validation 200,
      test 400. No sentence occurs twice, within a split or across splits.
    words: The vocabulary. Default `COMMON_WORDS`.
    min_words: Fewest words of a sentence. Default 2.
    max_words: Most words of a sentence. Default 4.
    voices: Names `ENGINE:VOICE` (see `tts.Voice`), drawn with equal chances.
      Default `NANO_VOICES`.
    pitch: Range of the uniformly drawn pitch factor. Default (0.7, 1.5).
    rate: Range of the uniformly drawn rate factor. Default (0.85, 1.3).
  """

  seed: int = 0
  splits: Mapping[str, int] = dataclasses.field(
    default_factory=lambda: {"train": 8000, "validation": 200, "test": 400}
  )
  words: tuple[str, ...] = COMMON_WORDS
  min_words: int = 2
  max_words: int = 4
  voices: tuple[str, ...] = NANO_VOICES
  pitch: tuple[float, float] = (0.7, 1.5)
  rate: tuple[float, float] = (0.85, 1.3)

  def __post_init__(self):
    if not self.splits or min(self.splits.values()) < 1:
      raise ValueError(
        "`splits` must name at least one split, each with utterances. "
        f"Received: splits={dict(self.splits)}"
      )
    if not 1 <= self.min_words <= self.max_words:
      raise ValueError(
        "`min_words` must be at least 1 and not above `max_words`. Received: "
        f"min_words={self.min_words}, max_words={self.max_words}"
      )
    if not self.words or len(set(self.words)) != len(self.words):
      raise ValueError("`words` must be distinct, at least one.")
    if not self.voices:
      raise ValueError("`voices` must hold at least one voice.")
    for name in self.voices:
      for pitch in self.pitch:
        for rate in self.rate:
          _voice(name, pitch, rate)

  def fingerprint(self) -> str:
    """SHA-256 of the specification and the voice engines' versions."""
    described = dataclasses.asdict(self)
    described["splits"] = sorted(self.splits.items())
    engines = sorted({name.partition(":")[0] for name in self.voices})
    versions = {name: _version(name) for name in engines}
    value = [_FORMAT, tts.UNIT, described, versions]
    return hashlib.sha256(
      json.dumps(value, sort_keys=True).encode()
    ).hexdigest()

  def sentences(self) -> dict[str, list[str]]:
    """The sentences of each split.

    Returns:
      Dict from split to a list of strings, all distinct.

    Raises:
      ValueError: If the words do not make so many different sentences.
    """
    generator = np.random.Generator(np.random.Philox(key=[self.seed, 0]))
    wanted = sum(self.splits.values())
    # With few words most draws are repeats; far past that there is no more.
    tries = 50 * wanted + 1000
    found = {}
    for _ in range(tries):
      if len(found) == wanted:
        break
      count = generator.integers(self.min_words, self.max_words + 1)
      picked = generator.integers(0, len(self.words), count)
      found.setdefault(" ".join(self.words[i] for i in picked))
    else:
      raise ValueError(
        f"`words` must allow {wanted} distinct sentences; {len(found)} found. "
        f"Received: {len(self.words)} words, min_words={self.min_words}, "
        f"max_words={self.max_words}"
      )
    found, result = iter(found), {}
    for split, count in self.splits.items():
      result[split] = [next(found) for _ in range(count)]
    return result

  def utterances(self) -> dict[str, list[tuple[Utterance, tts.Voice]]]:
    """Who says what in each split.

    Returns:
      Dict from split to a list of `(Utterance, tts.Voice)`.
    """
    result = {}
    for number, (split, texts) in enumerate(self.sentences().items(), 1):
      generator = np.random.Generator(np.random.Philox(key=[self.seed, number]))
      voices = generator.integers(0, len(self.voices), len(texts))
      pitches = generator.uniform(*self.pitch, len(texts))
      rates = generator.uniform(*self.rate, len(texts))
      result[split] = [
        (
          Utterance(f"{split}-{i:06d}", "", text, speaker=self.voices[voice]),
          _voice(self.voices[voice], round(pitch, 3), round(rate, 3)),
        )
        for i, (text, voice, pitch, rate) in enumerate(
          zip(texts, voices, pitches, rates)
        )
      ]
    return result


def generate(
  spec: SyntheticCorpus,
  cache_dir: str | os.PathLike,
  processes: int | None = None,
  progress: bool = True,
) -> dict[str, str]:
  """Speaks the corpus, once: a cached one is returned at once.

  Utterances are spoken in units of 250 (`tts.UNIT`). Stopping it loses the
  unfinished units, at most one for each process; the next call speaks only
  what is not finished.

  Args:
    spec: A `SyntheticCorpus`.
    cache_dir: Directory for all synthetic corpora; this one is put in a folder
      named after the specification's hash.
    processes: Number of processes. Default: the number of CPUs.
    progress: Whether to show a progress bar. Default True.

  Returns:
    Dict from split to its records directory (see `records.Records`).

  Raises:
    ImportError: If a voice engine is missing.
  """
  root = os.path.join(cache_dir, f"synthetic-{spec.fingerprint()[:16]}")
  paths = {split: os.path.join(root, split) for split in spec.splits}
  if all(os.path.isdir(path) for path in paths.values()):
    return paths
  os.makedirs(root, exist_ok=True)
  # The workers of one machine share the cache: the first makes the corpus.
  with locks.locked(
    f"{root}.lock",
    lambda: logging.info("another process writes %s: waiting", root),
  ):
    _generate(spec, paths, processes, progress)
  return paths


def _generate(spec, paths, processes, progress):
  for split, pairs in spec.utterances().items():
    if os.path.isdir(paths[split]):
      continue
    logging.info("speaking %d utterances: %s", len(pairs), paths[split])
    units = [pairs[i : i + tts.UNIT] for i in range(0, len(pairs), tts.UNIT)]
    write_shards(
      [(len(unit), lambda unit=unit: _speak(unit)) for unit in units],
      paths[split],
      key=[spec.fingerprint(), split],
      sample_rate=tts.SAMPLE_RATE,
      workers=processes,
      progress=progress,
    )


def _speak(unit):
  utterances, voices = zip(*unit)
  waveforms = tts.speak_unit([u.text for u in utterances], voices)
  return zip(utterances, waveforms)


def _voice(name, pitch, rate):
  engine, _, voice = name.partition(":")
  return tts.Voice(voice, float(pitch), float(rate), engine)


def _version(engine):
  package = {"nanotts": "py-nanotts", "espeak": "espeakng-loader"}[engine]
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError as error:
    extra = {"nanotts": "speech", "espeak": "espeak"}[engine]
    raise ImportError(
      extras.missing(package, f"The voice {engine}", extra, error)
    ) from error

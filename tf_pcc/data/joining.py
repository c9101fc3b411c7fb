"""Connected words, made by joining recordings of single words.

Two hours of speech train no general recogniser, but recorded single words of a
few speakers, joined to random strings, are real speech that generalises to
strings never spoken before.
"""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Mapping

import numpy as np
from absl import logging

from tf_pcc import locks
from tf_pcc.data import audio
from tf_pcc.data.corpora import read_corpus
from tf_pcc.data.segments import WHOLE
from tf_pcc.data.utterances import Utterance
from tf_pcc.data.writing import write_records


@dataclasses.dataclass(frozen=True)
class JoinedCorpus:
  """Random strings of one speaker's recorded words.

  Attributes:
    manifest: Corpus of single words (see `corpora.read_corpus`): the text of
      each utterance is one word.
    splits: Utterances of each split. Default: train 4000, test 400. Each split
      joins recordings of its own: the splits share no sound.
    shares: Share of each speaker's recordings of each word in each split, in
      the order of the manifest. Default: train 0.8, test 0.2.
    min_words: Fewest words of a string. Default 2.
    max_words: Most. Default 6.
    pause: Range of the silence between two words in seconds, uniformly drawn.
    seed: Of the strings and pauses.
    held_out: Speakers of the test split alone. Default: all are in all splits.
  """

  manifest: str
  splits: Mapping[str, int] = dataclasses.field(
    default_factory=lambda: {"train": 4000, "test": 400}
  )
  shares: Mapping[str, float] = dataclasses.field(
    default_factory=lambda: {"train": 0.8, "test": 0.2}
  )
  min_words: int = 2
  max_words: int = 6
  pause: tuple[float, float] = (0.02, 0.2)
  seed: int = 0
  held_out: tuple[str, ...] = ()

  def __post_init__(self):
    if set(self.splits) - set(self.shares) or sum(self.shares.values()) > 1.001:
      raise ValueError(
        "`shares` must name every split and add up to at most 1. Received: "
        f"splits={dict(self.splits)}, shares={dict(self.shares)}"
      )
    if not 1 <= self.min_words <= self.max_words:
      raise ValueError(
        "`min_words` must be at least 1 and not above `max_words`. Received: "
        f"min_words={self.min_words}, max_words={self.max_words}"
      )

  def recordings(self) -> dict[str, dict[str, dict[str, list[Utterance]]]]:
    """The recordings each split may use.

    Returns:
      Dict from split to dict from speaker to dict from word to a list of
      `Utterance`.

    Raises:
      ValueError: If a speaker has too few recordings of a word.
    """
    groups = collections.defaultdict(list)
    for utterance in read_corpus(self.manifest):
      groups[utterance.speaker, utterance.text].append(utterance)
    result: dict[str, dict[str, dict[str, list[Utterance]]]] = {
      s: collections.defaultdict(lambda: collections.defaultdict(list))
      for s in self.shares
    }
    for (speaker, word), group in sorted(groups.items()):
      start = 0.0
      for split, share in self.shares.items():
        stop = start + share * len(group)
        part = group[round(start) : round(stop)]
        start = stop
        if not part and split in self.splits:
          raise ValueError(
            f"`manifest` must hold more recordings of {word!r} by speaker "
            f"{speaker!r} for a share of {share} in {split}. "
            f"Received: {len(group)} recordings"
          )
        result[split][speaker][word] = part
    return self._hold_out(result)

  def _hold_out(self, recordings):
    """Leaves each speaker in the splits that may have him."""
    if not self.held_out:
      return recordings
    for split, speakers in recordings.items():
      kept = {
        name: words
        for name, words in speakers.items()
        if (name in self.held_out) == (split == "test")
      }
      if not kept or set(self.held_out) - set(speakers):
        raise ValueError(
          "`held_out` must name speakers of `manifest`, and not all of them. "
          f"Received: held_out={self.held_out}, speakers={sorted(speakers)}"
        )
      recordings[split] = kept
    return recordings


def generate(
  spec: JoinedCorpus, cache_dir: str | os.PathLike, progress: bool = True
) -> dict[str, str]:
  """Joins the corpus, once: a cached one is returned at once.

  Args:
    spec: A `JoinedCorpus`.
    cache_dir: Directory for all made corpora; this one is put in a folder named
      after the hash of its specification and recordings.
    progress: Whether to show a progress bar. Default True.

  Returns:
    Dict from split to its records directory (see `records.Records`).
  """
  recordings = spec.recordings()
  described = [spec, *_described(recordings)]
  key = hashlib.sha256(repr(described).encode()).hexdigest()
  root = os.path.join(cache_dir, f"joined-{key[:16]}")
  paths = {split: os.path.join(root, split) for split in spec.splits}
  if all(os.path.isdir(path) for path in paths.values()):
    return paths
  os.makedirs(root, exist_ok=True)
  # The workers of one machine share the cache: the first makes the corpus.
  with locks.locked(
    f"{root}.lock",
    lambda: logging.info("another process writes %s: waiting", root),
  ):
    for number, (split, count) in enumerate(spec.splits.items()):
      if os.path.isdir(paths[split]):
        continue
      logging.info("joining %d utterances: %s", count, paths[split])
      generator = np.random.Generator(np.random.Philox(key=[spec.seed, number]))
      write_records(
        _strings(spec, split, count, recordings[split], generator),
        paths[split],
        progress=progress,
      )
  return paths


def _described(recordings):
  """What the corpus depends on besides its specification."""
  for split, speakers in recordings.items():
    for speaker, words in speakers.items():
      for word, group in words.items():
        for utterance in group:
          size = os.path.getsize(utterance.path)
          part = () if utterance.segment == WHOLE else (utterance.segment,)
          yield split, speaker, word, utterance.id, size, *part


def _strings(spec, split, count, speakers, generator):
  loaded = {}

  def waveform(utterance):
    if utterance not in loaded:
      loaded[utterance] = utterance.load()
    return loaded[utterance]

  names = sorted(speakers)
  for i in range(count):
    speaker = names[generator.integers(len(names))]
    words = sorted(speakers[speaker])
    length = generator.integers(spec.min_words, spec.max_words + 1)
    text, parts = [], []
    for place in range(length):
      word = words[generator.integers(len(words))]
      group = speakers[speaker][word]
      if place:
        pause = generator.uniform(*spec.pause)
        parts.append(np.zeros(int(pause * audio.SAMPLE_RATE), np.float32))
      parts.append(waveform(group[generator.integers(len(group))]))
      text.append(word)
    utterance = Utterance(
      f"{split}-{i:06d}", "", " ".join(text), speaker=speaker
    )
    yield utterance, audio.to_int16(np.concatenate(parts))

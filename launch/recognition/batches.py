"""Batches of utterances for a recogniser: few shapes, bounded memory.

The one rule, for models and for functions: an utterance is padded to the
smallest of `SECONDS` that it fits in, and waits until its shape has as many
rows as `rows` allows. Each shape is a graph to trace, so there are few; above
0.6 seconds at most half of a batch is padding. How long the other utterances
are does not matter, so nothing of them needs to be known: they are read one
after the other, and no more than a batch of each shape is in memory.
"""

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np

from tf_pcc.data import assembly
from tf_pcc.data.mixing import AnyRecords

SECONDS = (0.625, 1.25, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0)
# The cost of 32 rows of 10 seconds; see `rows`.
_BUDGET = 32 * 10 * (1 + 10 / 15)

# What names a sound; it comes back with what is found of it.
Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Batch(Generic[Key]):
  """Utterances that are recognised together.

  Attributes:
    keys: names of the utterances, in the order they came.
    waveforms: int16 [samples] of each.
    samples: int, the width they are padded to.
  """

  keys: tuple[Key, ...]
  waveforms: tuple[np.ndarray, ...]
  samples: int

  def padded(self, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The waveforms as an array.

    Args:
      count: rows. Those beyond the utterances repeat the first, to avoid audio
        of length 0.

    Returns:
      float32 [count, samples] in [-1, 1), and the lengths, int32 [count].
    """
    audio = np.zeros([count, self.samples], np.int16)
    lengths = np.zeros([count], np.int32)
    for row in range(count):
      waveform = self.waveforms[row if row < len(self.waveforms) else 0]
      audio[row, : len(waveform)] = waveform
      lengths[row] = len(waveform)
    return audio.astype(np.float32) / 32768, lengths


def rows(seconds: float, most: int) -> int:
  """Rows of a batch on a CPU, where a batch must not take gigabytes.

  The memory of a row grows with its length and, in attention, with the square:
  as much again at 15 seconds. Up to 10 seconds there are 32 rows, at 60 one.

  Args:
    seconds: length that the rows are padded to.
    most: what the user asks for.

  Returns:
    int, at least 1 and at most `most`.
  """
  return max(1, min(most, int(_BUDGET / (seconds * (1 + seconds / 15)))))


def make(
  sounds: Iterable[tuple[Key, np.ndarray]],
  sample_rate: int,
  batch_size: int,
  limited: bool = True,
  kind: Callable[[Hashable], Hashable] | None = None,
) -> Iterator[Batch[Key]]:
  """Gathers utterances in batches.

  Args:
    sounds: (key, int16 [samples]) of each utterance; read as needed.
    sample_rate: Hz.
    batch_size: int, most rows of a batch.
    limited: whether batches of long utterances have fewer rows; see `rows`.
    kind: of a key; the keys of a batch are of one kind. Default: all are.

  Yields:
    `Batch`: full ones as soon as they are, then what is left, short ones first.
  """
  widths = [round(s * sample_rate) for s in SECONDS]
  waiting = collections.defaultdict(list)

  def batch(group):
    keys, waveforms = zip(*waiting.pop(group))
    return Batch(keys, waveforms, group[0])

  for key, waveform in sounds:
    place = bisect.bisect_left(widths, len(waveform))
    width = widths[place] if place < len(widths) else len(waveform)
    group = width, kind and kind(key)
    waiting[group].append((key, waveform))
    most = rows(width / sample_rate, batch_size) if limited else batch_size
    if len(waiting[group]) == most:
      yield batch(group)
  for group in sorted(waiting, key=lambda group: group[0]):
    yield batch(group)


def consecutive(
  sounds: Iterable[tuple[Key, np.ndarray]], batch_size: int
) -> Iterator[Batch[Key]]:
  """Batches of utterances in the order in which they come.

  Args:
    sounds: as for `make`.
    batch_size: int, rows of a batch.

  Yields:
    `Batch`, as wide as its longest utterance.
  """
  sounds = iter(sounds)
  while group := list(itertools.islice(sounds, batch_size)):
    keys, waveforms = zip(*group)
    yield Batch(keys, waveforms, max(map(len, waveforms)))


def sounds_of(
  records: AnyRecords,
) -> Iterator[tuple[int, np.ndarray]]:
  """The sound of records, read as it is taken.

  Args:
    records: `Records` or `MemoryRecords`.

  Yields:
    (number, int16 [samples]) of each utterance.
  """
  reading = assembly.Utterances([records])
  for start in range(0, len(records), reading.parallel):
    rows = range(len(records))[start : start + reading.parallel]
    yield from zip(rows, reading.map(records.read, rows))

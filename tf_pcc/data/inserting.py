"""A corpus with other waveforms between its own: how these are read."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from tf_pcc.data import audio, resampling
from tf_pcc.data.utterances import Corpus


@dataclasses.dataclass(frozen=True)
class Inserted:
  """The reader of a corpus between whose utterances others were put.

  See `Corpus.reader`.

  Attributes:
    corpus: The `Corpus` without them.
    rows: For each place the row of what was inserted there, or None where the
      next utterance of the corpus is.
    read: Function of a row, which returns int16 `[samples]`.
    rate: Rate in Hz of what it returns.
  """

  corpus: Corpus
  rows: tuple[int | None, ...]
  read: Callable[[int], np.ndarray]
  rate: int

  def __call__(
    self, start: int, stop: int, sample_rate: int
  ) -> Iterator[np.ndarray | ValueError]:
    """Yields waveforms.

    Args:
      start: The first one.
      stop: One after the last one.
      sample_rate: Wanted rate in Hz.

    Yields:
      int16 or float32 `[samples]`, or the ValueError that says why one of the
      corpus' own cannot be read.
    """
    first, last = self._ordinary(start, stop)
    ordinary = iter(self.corpus.waveforms(first, last, sample_rate))
    for row in self.rows[start:stop]:
      if row is None:
        yield next(ordinary)
        continue
      sound = self.read(row)
      if self.rate != sample_rate:
        sound = resampling.resample(
          audio.to_float(sound), self.rate, sample_rate
        )
      yield sound

  def part(self, start: int, stop: int) -> "Inserted":
    """The reader of a part, with what was inserted into it read already.

    Args:
      start: First utterance.
      stop: One after the last utterance.

    Returns:
      An `Inserted`.
    """
    rows = self.rows[start:stop]
    first, last = self._ordinary(start, stop)
    sounds = {row: self.read(row) for row in rows if row is not None}
    return Inserted(
      self.corpus.part(first, last), rows, sounds.__getitem__, self.rate
    )

  def _ordinary(self, start, stop):
    """Which utterances of the corpus are between two places."""
    return int(self._before[start]), int(self._before[stop])

  @functools.cached_property
  def _before(self):
    """How many utterances of the corpus come before each place."""
    return np.cumsum([0, *(row is None for row in self.rows)])

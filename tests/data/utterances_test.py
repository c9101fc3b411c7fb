"""A part of a corpus reads what the whole reads there, in another process."""

import dataclasses
import pickle

import numpy as np
import pytest

from tf_pcc.data import inserting
from tf_pcc.data.utterances import Corpus, Utterance


@dataclasses.dataclass(frozen=True)
class Numbers:
  """A reader whose waveforms are their numbers, with or without parts."""

  first: int = 0

  def __call__(self, start, stop, sample_rate):
    for number in range(self.first + start, self.first + stop):
      yield np.full(2, number, np.float32)


class Parts(Numbers):
  """One that gives parts of itself."""

  def part(self, start, stop):
    del stop
    return Parts(self.first + start)


def _corpus(count, reader):
  utterances = tuple(Utterance(f"u{i}", "", "A") for i in range(count))
  return Corpus("name", "root", utterances, reader=reader)


def _values(waveforms):
  return [int(waveform[0]) for waveform in waveforms]


def _inserted(corpus, random):
  """The corpus with rows of other sounds, -1 and so on, between its own."""
  rows = [None] * len(corpus)
  for row in range(5):
    rows.insert(int(random.integers(len(rows) + 1)), row)
  names = iter(corpus)
  return dataclasses.replace(
    corpus,
    utterances=tuple(
      next(names) if row is None else Utterance(f"inserted{row}", "", "B")
      for row in rows
    ),
    reader=inserting.Inserted(
      corpus, tuple(rows), lambda row: np.array([-1 - row], np.int16), 16000
    ),
  )


@pytest.mark.parametrize("kind", [Numbers, Parts])
@pytest.mark.parametrize("seed", range(5))
def test_a_part_is_what_the_whole_is_there(kind, seed):
  random = np.random.default_rng(seed)
  corpus = _corpus(30, kind())
  chosen = np.flatnonzero(random.random(30) < 0.6).tolist()
  selected = corpus.select(chosen)
  assert _values(selected.waveforms()) == chosen
  for whole in (corpus, selected, _inserted(selected, random)):
    expected = _values(whole.waveforms())
    for _ in range(20):
      start, stop = sorted(random.integers(0, len(whole) + 1, 2).tolist())
      part = pickle.loads(pickle.dumps(whole.part(start, stop)))
      assert part.utterances == whole.utterances[start:stop]
      assert _values(part.waveforms()) == expected[start:stop]
      middle = (stop - start) // 2
      again = part.part(middle, stop - start)
      assert _values(again.waveforms()) == expected[start + middle : stop]


def test_what_is_inserted_is_resampled():
  corpus = _corpus(1, Numbers())
  sound = (8000 * np.sin(np.arange(400) * 0.1)).astype(np.int16)
  reader = inserting.Inserted(corpus, (0, None), lambda row: sound, 8000)
  first, second = reader(0, 2, 16000)
  assert len(first) == 800 and first.dtype == np.float32
  np.testing.assert_allclose(first[100:700:2], sound[50:350] / 32768, atol=5e-3)
  assert _values([second]) == [0]

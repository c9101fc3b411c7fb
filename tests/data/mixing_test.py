"""Several sets of records as one."""

import numpy as np
import pytest

from tf_pcc.data import batching, mixing, records, text


def _part(letter, count, rate=16000):
  return records.MemoryRecords(
    [np.full(100 + i, ord(letter), np.int16) for i in range(count)],
    [letter] * count,
    ids=[f"{letter}{i}" for i in range(count)],
    speakers=[letter.lower()] * count,
    sample_rate=rate,
  )


@pytest.mark.parametrize(
  ("weights", "counts"),
  [((), (4, 6)), ((2, 1), (8, 6)), ((0.5, 1.5), (2, 9)), ((0.1, 1), (0, 6))],
)
def test_each_set_as_often_as_its_weight_says(weights, counts):
  mixed = mixing.MixedRecords([_part("A", 4), _part("B", 6)], weights)
  assert len(mixed) == sum(counts)
  assert tuple(mixed.texts.count(letter) for letter in "AB") == counts
  for row, key in enumerate(mixed.ids):
    waveform = mixed.read(row)
    assert len(waveform) == mixed.samples[row] == 100 + int(key[1:])
    assert set(waveform) == {ord(mixed.texts[row])}
    assert mixed.speakers[row] == key[0].lower()
  again = mixing.MixedRecords([_part("A", 4), _part("B", 6)], weights)
  assert mixed.ids == again.ids


def test_a_fraction_takes_no_utterance_twice():
  mixed = mixing.MixedRecords([_part("A", 100)], [0.3])
  assert len(set(mixed.ids)) == len(mixed.ids) == 30


@pytest.mark.parametrize("weights", [(1,), (1, 0), (1, -1), (1, np.inf)])
def test_weights_that_cannot_be_used(weights):
  with pytest.raises(ValueError, match="one positive number for each set"):
    mixing.MixedRecords([_part("A", 1), _part("B", 1)], weights)


def test_sample_rates_must_be_one():
  with pytest.raises(ValueError, match=r"sample_rates=\[8000, 16000\]"):
    mixing.MixedRecords([_part("A", 1), _part("B", 1, 8000)])


def test_batches_take_them():
  mixed = mixing.MixedRecords([_part("A", 4), _part("B", 4)], (1, 2))
  batches = batching.Batches(mixed, text.CharacterTokenizer("AB"), 4)
  assert batches.utterances == 12

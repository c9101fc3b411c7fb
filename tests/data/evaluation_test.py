"""Evaluation batches: every utterance exactly once."""

import numpy as np
import pytest

from tf_pcc.data import batching, records, text

RATE = 100
TOKENIZER = text.CharacterTokenizer("ABC ")


def _records(count):
  random = np.random.default_rng(count)
  lengths = random.integers(30, 300, count)
  return records.MemoryRecords(
    [random.integers(-999, 999, n).astype(np.int16) for n in lengths],
    ["".join(random.choice(list("ABC"), 3)) for _ in range(count)],
    sample_rate=RATE,
  )


@pytest.mark.parametrize("count", [1, 7, 8, 9, 33])
@pytest.mark.parametrize("boundaries", [None, (1, 2), (1, 2, 5)])
def test_everything_once(count, boundaries):
  source = _records(count)
  batches = batching.evaluation_batches(source, TOKENIZER, 8, boundaries)
  assert sorted(batches.rows[batches.rows >= 0]) == list(range(count))
  heard = []
  for rows, shape, (x, y, weight) in zip(batches.rows, batches.shapes, batches):
    assert x["audio"].shape == (8, shape)
    np.testing.assert_array_equal(weight, (rows >= 0).astype(np.float32))
    for row, i in enumerate(rows):
      length = int(x["audio_length"][row])
      assert length > 0  # filled rows too: they repeat a real one
      if i >= 0:
        heard.append(i)
        np.testing.assert_array_equal(
          x["audio"][row, :length] * 32768, source.read(i)
        )
        ids = y["labels"][row, : y["label_length"][row]].numpy()
        assert TOKENIZER.decode(ids) == source.texts[i]
  assert len(heard) == count and len(batches) == len(batches.rows)


def test_hosts_share_the_rows():
  batches = batching.evaluation_batches(_records(9), TOKENIZER, 8)
  whole = [weight.numpy() for _, _, weight in batches]
  parts = [
    [w.numpy() for _, _, w in batches.dataset(num_pipelines=2, pipeline=p)]
    for p in range(2)
  ]
  for step, weight in enumerate(whole):
    np.testing.assert_array_equal(
      weight, np.concatenate([part[step] for part in parts])
    )


def test_nothing_is_left_out_for_its_text():
  source = records.MemoryRecords(
    [np.ones(5), np.ones(9)], ["AXB", "ABCAB"], sample_rate=RATE
  )
  batches = batching.evaluation_batches(source, TOKENIZER, 2, max_labels=3)
  ((_, y, weight),) = list(batches)
  assert weight.numpy().tolist() == [1, 1]
  assert y["label_length"].numpy().tolist() == [0, 3]
  assert batches.unencodable == ["0"]


def test_bad_arguments():
  with pytest.raises(ValueError, match="batch_size=0"):
    batching.evaluation_batches(_records(2), TOKENIZER, 0)
  empty = records.MemoryRecords([], [])
  with pytest.raises(ValueError, match="at least one utterance"):
    batching.evaluation_batches(empty, TOKENIZER, 2)

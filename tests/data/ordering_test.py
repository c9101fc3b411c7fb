"""The order as arithmetic, against a stream written out by hand."""

import itertools

import numpy as np
import pytest

from tf_pcc.data import ordering


@pytest.mark.parametrize("counts", [(10,), (9, 4), (5, 17, 8)])
@pytest.mark.parametrize("seed", [0, 7])
def test_each_epoch_is_drawn_without_replacement(counts, seed):
  order = ordering.Order(counts, 4, seed)
  length = order.steps_per_epoch
  assert length == sum(count // 4 for count in counts)
  for epoch in range(3):
    rows = [order.rows(epoch * length + step) for step in range(length)]
    for bucket, count in enumerate(counts):
      numbers = [i for b, part in rows if b == bucket for i in part]
      assert len(numbers) == len(set(numbers)) == count // 4 * 4
      assert set(numbers) <= set(range(count))


def test_a_step_does_not_depend_on_the_steps_asked_before():
  inserted = [(0, 3), (1, 5)]
  first = ordering.Order((9, 12), 4, 1, inserted, 20)
  forward = [first.rows(step) for step in range(40)]
  second = ordering.Order((9, 12), 4, 1, inserted, 20)
  for step in np.random.default_rng(0).permutation(40):
    bucket, rows = second.rows(step)
    assert bucket == forward[step][0]
    np.testing.assert_array_equal(rows, forward[step][1])


def test_insertions_push_the_stream_back_and_lose_nothing():
  plain = ordering.Order((10,), 4, 3)
  pushed = ordering.Order((10,), 4, 3, [(0, 5), (0, 2)], 12)
  plain_rows = list(
    itertools.chain.from_iterable(plain.rows(step)[1] for step in range(12))
  )
  seen, at = [], 0
  for step in range(12):
    rows = [int(i) for i in pushed.rows(step)[1]]
    stream = [i for i in rows if i >= 0]
    expected = plain_rows[at : at + len(stream)]
    assert sorted(stream) == sorted(expected)
    at += len(stream)
    seen += [i for i in rows if i < 0]
  assert sorted(seen) == [~1] * 2 + [~0] * 5
  assert at == 12 * 4 - 7


def test_buckets_are_mixed():
  order = ordering.Order((40, 40), 4, 0)
  buckets = [order.rows(step)[0] for step in range(20)]
  assert sorted(buckets) == [0] * 10 + [1] * 10 and buckets != sorted(buckets)


def test_insertions_take_only_their_bucket():
  order = ordering.Order((40, 40), 4, 0, [(1, 15)], 20)
  for step in range(20):
    bucket, rows = order.rows(step)
    assert bucket == 1 or min(rows) >= 0
  inserted = sum((order.rows(step)[1] < 0).sum() for step in range(20))
  assert inserted == 15


def test_too_many_insertions():
  with pytest.raises(ValueError, match="total_steps=5, inserted=21"):
    ordering.Order((8,), 4, 0, [(0, 21)], 5)

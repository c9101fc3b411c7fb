"""The search for the largest batch, against trying all."""

import numpy as np
import pytest

from launch.plan import largest_batch, step


def run(need, limit, start, multiple=1):
  """The answer, and the batches that were tried, in their order."""
  tried = []

  def fits(batch):
    assert batch > 0 and batch % multiple == 0 and batch not in tried
    tried.append(batch)
    return need(batch) <= limit

  found = largest_batch.largest_batch(
    fits,
    lambda batch: step.Memory(need(batch), limit),
    start,
    multiple,
  )
  return found, tried


@pytest.mark.parametrize("seed", range(60))
def test_needs_that_grow_nearly_in_a_line(seed):
  rng = np.random.default_rng(seed)
  base, slope = rng.integers(0, 500), rng.uniform(1, 200)
  wobble = rng.integers(0, 30, 25_000).cumsum() * rng.integers(0, 2)
  limit = int(rng.integers(100, 20_000))
  multiple = int(rng.choice([1, 2, 3, 8, 16]))
  start = int(rng.integers(1, 300)) * multiple

  def need(batch):
    return int(base + slope * batch + wobble[batch])

  found, tried = run(need, limit, start, multiple)
  assert found == 0 or found in tried and need(found) <= limit
  assert need(found + largest_batch.granule(found, multiple)) > limit
  assert not any(need(b) <= limit for b in tried if b > found)
  assert len(tried) <= 16


@pytest.mark.parametrize("limit", range(1, 40))
@pytest.mark.parametrize("start", [1, 7, 8, 12, 13, 20, 30])
def test_what_fits_is_never_undercut(limit, start):
  found, tried = run(lambda batch: batch, limit, start)
  assert tried[0] == start
  assert found >= (start if start <= limit else 0)
  assert found <= limit < found + largest_batch.granule(found)


def test_an_end_where_everything_fits():
  found, tried = run(lambda b: 100, 200, start=6)
  assert found >= 2**20 and len(tried) < 25


def test_thousands_are_near_enough_within_2_percent():
  """A small program: what does not grow with the batch misleads the line."""
  found, tried = run(lambda b: 20_000 + 5 * b, 42_345, start=6)
  assert 0.98 * 4469 <= found <= 4469
  assert len(tried) <= 5


@pytest.mark.parametrize(
  ("batch", "multiple", "want"),
  [(0, 1, 1), (7, 1, 1), (7, 3, 3), (8, 1, 8), (8, 3, 9), (399, 1, 8)]
  + [(800, 1, 16), (4469, 1, 88), (4800, 3, 90)],
)
def test_granule(batch, multiple, want):
  assert largest_batch.granule(batch, multiple) == want

"""Buckets: utterances of similar length, whose batches have one shape."""

from collections.abc import Sequence

import numpy as np


def fill(
  rows: np.ndarray,
  lengths: np.ndarray,
  slow: np.ndarray,
  shapes: Sequence[int],
  global_batch: int,
) -> tuple[tuple[int, ...], list[np.ndarray]]:
  """Deals utterances out to buckets, each of which fills a batch.

  A bucket that would not fill one is merged with the next larger one. The
  largest then gets the longest utterances of those below.

  Args:
    rows: int array `[m]`, numbers of utterances, at least `global_batch`.
    lengths: int array `[n]`, samples of every utterance.
    slow: float array `[m]`, samples of `rows` at their slowest speed.
    shapes: The most samples of each bucket, ascending.
    global_batch: Utterances of a batch.

  Returns:
    (the shapes in use, an int array with the numbers of the utterances of
    each).

  Example:

  >>> lengths = np.array([3, 8, 2, 9, 3])
  >>> fill(np.arange(5), lengths, lengths, [4, 10], 2)
  ((4, 10), [array([0, 2, 4]), array([1, 3])])
  """
  homes = np.searchsorted(shapes, np.minimum(slow, shapes[-1]))
  buckets = [rows[homes == bucket] for bucket in range(len(shapes))]
  # Nothing is padded to a length that no utterance has.
  while not len(buckets[-1]):
    buckets.pop()
  _merge_upwards(buckets, global_batch)
  while 0 < len(buckets[-1]) < global_batch:
    below = next(
      i for i in reversed(range(len(buckets) - 1)) if len(buckets[i])
    )
    missing = global_batch - len(buckets[-1])
    order = np.argsort(lengths[buckets[below]], kind="stable")
    chosen = np.zeros(len(order), bool)
    chosen[order[-missing:]] = True
    buckets[-1] = np.concatenate([buckets[-1], buckets[below][chosen]])
    buckets[below] = buckets[below][~chosen]
  _merge_upwards(buckets, global_batch)
  used = tuple(s for s, b in zip(shapes, buckets) if len(b))
  return used, [bucket for bucket in buckets if len(bucket)]


def _merge_upwards(buckets, global_batch):
  """Gives the next bucket what fills no batch."""
  for i in range(len(buckets) - 1):
    if len(buckets[i]) < global_batch:
      buckets[i + 1] = np.concatenate([buckets[i + 1], buckets[i]])
      buckets[i] = buckets[i][:0]

"""Which utterance stands in which row of which step: arithmetic, no audio.

Every bucket is an endless stream: epoch after epoch, each a new permutation of
its utterances without the remainder that fills no batch. Everything is computed
from the seed and the step alone, so there is no state to save.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

# What a random number is for; part of its Philox key.
_UTTERANCES, _BUCKETS, _ROWS, _PHASES = range(4)


@dataclasses.dataclass(frozen=True)
class Insertion:
  """An utterance that training sees beside the records: a canary.

  Attributes:
    source: The `Records` or `MemoryRecords` that holds it.
    index: Its number there.
    repeats: How often it is seen in `total_steps` steps, evenly spread.
  """

  source: object
  index: int
  repeats: int = 1


class Order:
  """The order of training: a pure function of (seed, step).

  In an epoch each bucket gives `count // global_batch` batches of utterances
  drawn without replacement; the buckets' batches are mixed at random. Inserted
  utterances take rows of chosen steps and push the stream of that bucket back:
  they displace nothing, and each is seen exactly as often as asked.

  Args:
    counts: Number of utterances of each bucket, each at least `global_batch`.
    global_batch: Rows of a step.
    seed: A non-negative int.
    inserted: Sequence of (bucket, repeats), one for each inserted utterance.
    total_steps: Steps over which the repeats are spread evenly.
  """

  def __init__(
    self,
    counts: Sequence[int],
    global_batch: int,
    seed: int,
    inserted: Sequence[tuple[int, int]] = (),
    total_steps: int = 0,
  ):
    self._counts = np.asarray(counts, np.int64)
    self._batch = global_batch
    self._seed = seed
    self.steps = self._counts // global_batch
    self._permutation = functools.lru_cache(4 * len(counts))(self._permute)
    self._mixed = functools.lru_cache(4)(self._mix)
    self._inserted_at = {}
    self._before = [np.zeros(0, np.int64) for _ in counts]
    if inserted:
      self._insert(inserted, total_steps)

  @property
  def steps_per_epoch(self) -> int:
    """Steps in which every utterance, but for remainders, is seen once."""
    return int(self.steps.sum())

  def rows(self, step: int) -> tuple[int, np.ndarray]:
    """What a step holds.

    Args:
      step: Number of the step, from 0.

    Returns:
      (bucket, int64 array `[global_batch]`): an entry i >= 0 is utterance i of
      the bucket, an entry i < 0 is inserted utterance ~i.
    """
    bucket, batches_before = self._bucket(step)
    inserted = self._inserted_at.get(step, [])
    pushed = int(np.searchsorted(self._before[bucket], step))
    start = batches_before * self._batch - pushed
    rows = self._stream(bucket, start, self._batch - len(inserted))
    if inserted:
      rows = np.concatenate([rows, ~np.asarray(inserted, np.int64)])
      rows = self._random(_ROWS, step).permutation(rows)
    return bucket, rows

  def _random(self, *key):
    sequence = np.random.SeedSequence([self._seed, *key])
    return np.random.Generator(np.random.Philox(sequence))

  def _permute(self, bucket, epoch):
    random = self._random(_UTTERANCES, bucket, epoch)
    used = self.steps[bucket] * self._batch
    return random.permutation(self._counts[bucket])[:used]

  def _stream(self, bucket, start, count):
    used = int(self.steps[bucket]) * self._batch
    parts = []
    while count:
      epoch, place = divmod(start, used)
      parts.append(self._permutation(bucket, epoch)[place : place + count])
      start += len(parts[-1])
      count -= len(parts[-1])
    return np.concatenate([np.zeros(0, np.int64), *parts])

  def _mix(self, epoch):
    """The bucket of each step of an epoch, and its count among its equals."""
    buckets = np.repeat(np.arange(len(self.steps)), self.steps)
    buckets = self._random(_BUCKETS, epoch).permutation(buckets)
    counts = np.zeros(len(buckets), np.int64)
    for bucket, steps in enumerate(self.steps):
      counts[buckets == bucket] = np.arange(steps)
    return buckets, counts

  def _bucket(self, step):
    epoch, place = divmod(step, self.steps_per_epoch)
    buckets, counts = self._mixed(epoch)
    bucket = int(buckets[place])
    return bucket, epoch * int(self.steps[bucket]) + int(counts[place])

  def _insert(self, inserted, total_steps):
    """Gives each repeat the step of its bucket nearest to its turn.

    The repeats of one utterance are total_steps / repeats apart; the first
    comes at a random part of that distance.
    """
    buckets = np.array([self._bucket(step)[0] for step in range(total_steps)])
    room = np.full(total_steps, self._batch)
    for number, (bucket, repeats) in enumerate(inserted):
      phase = self._random(_PHASES, number).uniform()
      for repeat in range(repeats):
        turn = (repeat + phase) / repeats * total_steps
        open_steps = np.flatnonzero((buckets == bucket) & (room > 0))
        if not open_steps.size:
          raise ValueError(
            f"`inserted` must have room in the steps of bucket {bucket}. "
            f"Received: total_steps={total_steps}, inserted="
            f"{sum(r for _, r in inserted)} rows of {self._batch} a step"
          )
        step = int(open_steps[np.abs(open_steps + 0.5 - turn).argmin()])
        room[step] -= 1
        self._inserted_at.setdefault(step, []).append(number)
    for bucket in range(len(self.steps)):
      self._before[bucket] = np.sort(
        [
          step
          for step, numbers in self._inserted_at.items()
          for _ in numbers
          if buckets[step] == bucket
        ]
      ).astype(np.int64)

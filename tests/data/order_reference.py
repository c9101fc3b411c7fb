"""The order of training as it was first: lists, an utterance at a time.

Runs are resumed from a step's number alone, so no later code may give another
order for the records of that time. This copy changes never.
"""

import numpy as np


class Order:
  """Ids of the utterances of every step.

  Args:
    ids: of the utterances.
    labels: a list of ints each, or None.
    samples: int each.
    global_batch: rows of a step.
    boundaries: largest samples of each bucket, or None.
    fits: function (labels, samples) -> bool, or None.
    max_labels: int or None.
    seed: int.
    inserted: list of (id, samples, repeats).
    total_steps: int.
  """

  def __init__(
    self,
    ids,
    labels,
    samples,
    global_batch,
    boundaries=None,
    fits=None,
    max_labels=None,
    seed=0,
    inserted=(),
    total_steps=0,
  ):
    self._batch, self._seed = global_batch, seed
    extra = [length for _, length, _ in inserted]
    shapes = tuple(boundaries or [max([*samples, *extra])])
    self._extra = [name for name, _, _ in inserted]
    self.filtered = {}

    def reason(i):
      if labels[i] is None:
        return "unknown_character"
      if not labels[i]:
        return "no_label"
      if samples[i] > shapes[-1]:
        return "too_long"
      if max_labels is not None and len(labels[i]) > max_labels:
        return "too_many_labels"
      if fits is None or fits(labels[i], samples[i]):
        return None
      return "labels_exceed_frames"

    buckets = [[] for _ in shapes]
    for i, name in enumerate(ids):
      why = reason(i)
      if why is None:
        buckets[int(np.searchsorted(shapes, samples[i]))].append(name)
      else:
        self.filtered.setdefault(why, []).append(name)
    for bucket, larger in zip(buckets[:-1], buckets[1:]):
      if len(bucket) < global_batch:
        larger += bucket
        bucket.clear()
    if 0 < len(buckets[-1]) < global_batch:
      self.filtered["small_bucket"] = list(buckets[-1])
      buckets[-1].clear()
    self.shapes = tuple(s for s, b in zip(shapes, buckets) if b)
    self._buckets = [bucket for bucket in buckets if bucket]
    self._counts = np.array([len(b) for b in self._buckets], np.int64)
    self.steps = self._counts // global_batch
    self.steps_per_epoch = int(self.steps.sum())
    self._inserted_at = {}
    self._before = [np.zeros(0, np.int64) for _ in self._buckets]
    if inserted:
      self._insert(
        [
          (int(np.searchsorted(self.shapes, length)), repeats)
          for _, length, repeats in inserted
        ],
        total_steps,
      )

  def ids(self, step):
    bucket, batches_before = self._bucket(step)
    inserted = self._inserted_at.get(step, [])
    pushed = int(np.searchsorted(self._before[bucket], step))
    start = batches_before * self._batch - pushed
    rows = self._stream(bucket, start, self._batch - len(inserted))
    if inserted:
      rows = np.concatenate([rows, ~np.asarray(inserted, np.int64)])
      rows = self._random(2, step).permutation(rows)
    return [
      self._buckets[bucket][i] if i >= 0 else self._extra[~i] for i in rows
    ]

  def _random(self, *key):
    sequence = np.random.SeedSequence([self._seed, *key])
    return np.random.Generator(np.random.Philox(sequence))

  def _permute(self, bucket, epoch):
    random = self._random(0, bucket, epoch)
    used = self.steps[bucket] * self._batch
    return random.permutation(self._counts[bucket])[:used]

  def _stream(self, bucket, start, count):
    used = int(self.steps[bucket]) * self._batch
    parts = []
    while count:
      epoch, place = divmod(start, used)
      parts.append(self._permute(bucket, epoch)[place : place + count])
      start += len(parts[-1])
      count -= len(parts[-1])
    return np.concatenate([np.zeros(0, np.int64), *parts])

  def _bucket(self, step):
    epoch, place = divmod(step, self.steps_per_epoch)
    buckets = np.repeat(np.arange(len(self.steps)), self.steps)
    buckets = self._random(1, epoch).permutation(buckets)
    counts = np.zeros(len(buckets), np.int64)
    for bucket, steps in enumerate(self.steps):
      counts[buckets == bucket] = np.arange(steps)
    bucket = int(buckets[place])
    return bucket, epoch * int(self.steps[bucket]) + int(counts[place])

  def _insert(self, inserted, total_steps):
    buckets = np.array([self._bucket(step)[0] for step in range(total_steps)])
    room = np.full(total_steps, self._batch)
    for number, (bucket, repeats) in enumerate(inserted):
      phase = self._random(3, number).uniform()
      for repeat in range(repeats):
        turn = (repeat + phase) / repeats * total_steps
        open_steps = np.flatnonzero((buckets == bucket) & (room > 0))
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

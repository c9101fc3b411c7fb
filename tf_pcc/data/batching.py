"""Batches of static shape for training.

Utterances go to buckets by length, and all batches of a bucket have one shape;
one bucket, so one shape, is the usual case on a TPU. Their order is that of
`tf_pcc.data.ordering`: a run resumes from a step number.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from tf_pcc.data import damage
from tf_pcc.data.assembly import (
  Entry,
  as_list,
  assemble,
  bucket_shapes,
  entries_of,
  pipeline_of,
  share,
)
from tf_pcc.data.ordering import Order
from tf_pcc.data.shards import DamagedRecord

if TYPE_CHECKING:
  import tensorflow as tf

  from tf_pcc.data.tokenizers import Tokenizer

__all__ = [
  "Batches",
  "Insertion",
  "ctc_length",
]

_ENDLESS = 2**62


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


def ctc_length(labels: Sequence[int] | np.ndarray) -> int:
  """Frames CTC needs at least: one a label, one more between equal labels."""
  labels = np.asarray(labels)
  return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))


class Batches:
  """Training batches from records.

  Left out, listed in `filtered` and logged are utterances that have
  - `unknown_character`: text outside the tokenizer's vocabulary;
  - `no_label`: an empty text;
  - `too_long`: more samples than the largest bucket;
  - `too_many_labels`: more than `max_labels`;
  - `labels_exceed_frames`: more labels than `fits` can place in its frames;
  - `small_bucket`: the largest bucket, if too few to fill one batch are in it.
    A smaller such bucket is merged with the next.

  Args:
    records: `Records`, `MemoryRecords`, or a list of them.
    tokenizer: A `tf_pcc.data.text.Tokenizer`.
    global_batch: Utterances of a step, over all cores and hosts.
    bucket_boundaries_seconds: Largest length of each bucket in seconds.
      Default: one bucket, as long as the longest utterance.
    seed: Of the order. Default 0.
    fits: Function (labels, samples) -> bool, whether the network can learn the
      labels: the utterances that it cannot are left out.
    max_labels: Width of the labels. Default: the longest that is kept.
    cores: Number of cores that share a batch. Default 1.
    inserted: Sequence of `Insertion`. Default: none.
    total_steps: Steps over which the insertions are spread.
    damaged_limit: The largest share of the utterances that may be damaged. The
      next of its bucket then takes the place of a damaged one. Default 0: the
      first is an error. An insertion that is damaged always is.

  Attributes:
    filtered: Dict from reason to a list of utterance ids.
    damaged: Dict from the id of each damaged record that was met so far to what
      is wrong with it.
    shapes: Tuple with the samples S of each bucket in use.
    max_labels: Width U of the labels.

  Raises:
    ValueError: if `global_batch` is not divisible by `cores`, if no full batch
      is left, or if an insertion would itself be filtered.

  Example:

  >>> from tf_pcc.data import records, text
  >>> source = records.MemoryRecords([np.zeros(16000)] * 4, ["A", "B"] * 2)
  >>> batches = Batches(source, text.CharacterTokenizer("AB"), global_batch=2)
  >>> for x, y in batches.dataset(start_step=100).take(1):
  ...   print(x["audio"].shape, y["labels"].shape)
  (2, 16000) (2, 1)
  """

  def __init__(
    self,
    records: Any,
    tokenizer: "Tokenizer",
    global_batch: int,
    bucket_boundaries_seconds: Iterable[float] | None = None,
    seed: int = 0,
    fits: Callable[[Any, int], bool] | None = None,
    max_labels: int | None = None,
    cores: int = 1,
    inserted: Iterable[Insertion] | None = None,
    total_steps: int | None = None,
    damaged_limit: float = 0.0,
  ):
    inserted = list(inserted or ())
    _check_arguments(global_batch, cores, inserted, total_steps)
    self.global_batch = global_batch
    self._sources = as_list(records)
    entries = entries_of(self._sources, tokenizer)
    extra = self._extra_entries(inserted, tokenizer)
    if bucket_boundaries_seconds is None:
      self.shapes = (max(self._samples(e) for e in [*entries, *extra]),)
    else:
      rate = self._sources[0].sample_rate
      self.shapes = bucket_shapes(bucket_boundaries_seconds, rate)

    def reason(entry):
      if entry.labels is None:
        return "unknown_character"
      if not entry.labels:
        return "no_label"
      samples = self._samples(entry)
      if samples > self.shapes[-1]:
        return "too_long"
      if max_labels is not None and len(entry.labels) > max_labels:
        return "too_many_labels"
      if fits is None or fits(entry.labels, samples):
        return None
      return "labels_exceed_frames"

    for insertion, entry in zip(inserted, extra):
      if reason(entry) or insertion.repeats < 1:
        raise ValueError(
          "`inserted` must hold utterances that can be trained on, with "
          f"repeats of at least 1. Received: id={self._id(entry)!r}, "
          f"reason={reason(entry)}, repeats={insertion.repeats}"
        )
    self.filtered = collections.defaultdict(list)
    self._buckets = self._fill_buckets(entries, reason)
    self.filtered = dict(self.filtered)
    for why, ids in self.filtered.items():
      shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
      logging.warning("left out %d utterances, %s: %s", len(ids), why, shown)
    self._extra = extra
    self._damage = damage.Damage(damaged_limit, self.utterances)
    self.max_labels = max_labels or max(
      len(entry.labels)
      for bucket in [*self._buckets, extra]
      for entry in bucket
    )
    self._order = Order(
      [len(bucket) for bucket in self._buckets],
      global_batch,
      seed,
      [
        (self._bucket_of(entry), insertion.repeats)
        for insertion, entry in zip(inserted, extra)
      ],
      total_steps or 0,
    )

  def __len__(self):
    """Steps of an epoch."""
    return self._order.steps_per_epoch

  @property
  def utterances(self) -> int:
    """Number of utterances in use, insertions not counted."""
    return sum(map(len, self._buckets))

  def ids(self, step: int) -> list[str]:
    """Ids of the utterances of a step, in the order of the rows."""
    bucket, rows = self._order.rows(step)
    return [self._id(self._entry(bucket, row)) for row in rows]

  def batch(
    self, step: int, start: int = 0, stop: int | None = None
  ) -> tuple[np.ndarray, ...]:
    """The arrays of rows `start` to `stop` of a step.

    Args:
      step: Number of the step, from 0.
      start: First row. Default 0.
      stop: One after the last row. Default: all.

    Returns:
      audio int16 `[b, S]`, its length int32 `[b]`, labels int32 `[b, U]`, their
      length int32 `[b]`.
    """
    bucket, rows = self._order.rows(step)
    rows = rows[start:stop]
    return assemble(
      (self._read(bucket, int(row)) for row in rows),
      len(rows),
      self.shapes[bucket],
      self.max_labels,
    )

  def dataset(
    self,
    start_step: int = 0,
    stop_step: int | None = None,
    num_pipelines: int = 1,
    pipeline: int = 0,
  ) -> "tf.data.Dataset":
    """The batches from a step on.

    Args:
      start_step: First step. Default 0.
      stop_step: One after the last step. Default: without end.
      num_pipelines: Number of hosts that share each global batch. Default 1.
      pipeline: Which of them this is; it gets its contiguous rows. Default 0.

    Returns:
      tf.data.Dataset of (x, y), with b = global_batch / num_pipelines:
      `x = {"audio": float32 [b, S] in [-1, 1], "audio_length": int32 [b]}`,
      `y = {"labels": int32 [b, U], "label_length": int32 [b]}`. With one bucket
      all shapes are static; with more, S is one of `shapes`.
    """
    import tensorflow as tf

    first, rows = share(self.global_batch, num_pipelines, pipeline)
    steps = tf.data.Dataset.range(
      start_step, _ENDLESS if stop_step is None else stop_step
    )
    return pipeline_of(
      steps,
      lambda step: self.batch(int(step), first, first + rows),
      [rows, self.shapes[0] if len(self.shapes) == 1 else None],
      self.max_labels,
    )

  @property
  def damaged(self):
    return dict(self._damage.found)

  def _entry(self, bucket, row):
    return self._buckets[bucket][row] if row >= 0 else self._extra[~row]

  def _read(self, bucket, row):
    """The waveform and the labels of a row, or of the next that is whole."""
    for _ in range(len(self._buckets[bucket])):
      entry = self._entry(bucket, row)
      try:
        return self._sources[entry.source].read(entry.index), entry.labels
      except DamagedRecord as error:
        if row < 0:
          raise
        self._damage.note(self._id(entry), error)
        last = error
      row = (row + 1) % len(self._buckets[bucket])
    raise last

  def _samples(self, entry):
    return int(self._sources[entry.source].samples[entry.index])

  def _id(self, entry):
    return self._sources[entry.source].ids[entry.index]

  def _bucket_of(self, entry):
    bucket = int(np.searchsorted(self.shapes, self._samples(entry)))
    if bucket == len(self.shapes):
      raise ValueError(
        "`inserted` must fit in a bucket that fills a batch, so in "
        f"{self.shapes[-1]} samples. Received: id={self._id(entry)!r}"
      )
    return bucket

  def _extra_entries(self, inserted, tokenizer):
    self._sources += list({id(i.source): i.source for i in inserted}.values())
    place = {id(source): i for i, source in enumerate(self._sources)}
    texts = [insertion.source.texts[insertion.index] for insertion in inserted]
    labels = tokenizer.encode_batch(texts, strict=False)
    return [
      Entry(place[id(insertion.source)], insertion.index, ids)
      for insertion, ids in zip(inserted, labels)
    ]

  def _fill_buckets(self, entries, reason):
    """Lists of entries; drops the buckets without any from `shapes`."""
    buckets = [[] for _ in self.shapes]
    for entry in entries:
      why = reason(entry)
      if why is None:
        buckets[self._bucket_of(entry)].append(entry)
      else:
        self.filtered[why].append(self._id(entry))
    for bucket, larger in zip(buckets[:-1], buckets[1:]):
      if len(bucket) < self.global_batch:
        larger += bucket
        bucket.clear()
    if 0 < len(buckets[-1]) < self.global_batch:
      self.filtered["small_bucket"] = [self._id(e) for e in buckets[-1]]
      buckets[-1].clear()
    counts = {why: len(ids) for why, ids in self.filtered.items()}
    if not any(buckets):
      raise ValueError(
        "`records` must leave a full batch after filtering. Received: "
        f"global_batch={self.global_batch}, utterances={len(entries)}, "
        f"filtered={counts}"
      )
    self.shapes = tuple(s for s, b in zip(self.shapes, buckets) if b)
    return [bucket for bucket in buckets if bucket]


def _check_arguments(global_batch, cores, inserted, total_steps):
  if global_batch < 1 or cores < 1 or global_batch % cores:
    raise ValueError(
      "`global_batch` must be positive and divisible by the number of cores. "
      f"Received: global_batch={global_batch}, cores={cores}"
    )
  if inserted and not total_steps:
    raise ValueError(
      "`total_steps` must be positive where `inserted` is given. "
      f"Received: total_steps={total_steps}"
    )

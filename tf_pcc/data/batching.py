"""Batches of static shape for training.

Utterances go to buckets by length, and all batches of a bucket have one shape;
one bucket, so one shape, is the usual case on a TPU. Their order is that of
`tf_pcc.data.ordering`: a run resumes from a step number. More than half of the
file describes what a training can ask for; the parts are in files of their own.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from tf_pcc.data import buckets, damage, host_reading
from tf_pcc.data.assembly import (
  Utterances,
  as_list,
  assemble,
  bucket_shapes,
  pipeline_of,
  share,
)
from tf_pcc.data.augmentation import Augmentation, Change
from tf_pcc.data.limits import Limits, ctc_length, require_batch
from tf_pcc.data.ordering import Insertion, Order
from tf_pcc.data.shards import DamagedRecord

if TYPE_CHECKING:
  import tensorflow as tf

  from tf_pcc.data.tokenizer_base import Tokenizer

__all__ = ["Batches", "Insertion", "ctc_length"]

_ENDLESS = 2**62
# What a random number is for; `tf_pcc.data.ordering` has 0 to 3.
_AUGMENTATION = 4


class Batches:
  """Training batches from records.

  Left out, listed in `filtered` and logged are utterances that have
  - `unknown_character`: text outside the tokenizer's vocabulary;
  - `no_label`: an empty text;
  - `too_long`: more samples than the largest bucket;
  - `too_many_labels`: more than `max_labels`;
  - `labels_exceed_frames`: more labels than `fits` can place in its frames.

  Too few for a bucket are not: one that would not fill a batch is merged with
  the next larger one, and the largest gets the longest utterances of those
  below.

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
    fits_lengths: In place of `fits`, for all utterances at once: function
      (labels, repeats, samples) -> bool `[n]`, of int arrays `[n]`: how many
      labels, how many of them equal the one before, and the samples.
    augmentation: How the waveforms are changed each time; those inserted are
      not. Buckets are those of the slowest. A speed at which an utterance does
      not fit its bucket or its labels is left out. Default: not at all.

  Attributes:
    filtered: Dict from reason to a list of utterance ids.
    damaged: Dict from the id of each damaged record that was met so far to what
      is wrong with it.
    shapes: Tuple with the samples S of each bucket in use.
    bucket_sizes: Tuple with the number of utterances of each of them.
    max_labels: Width U of the labels.

  Raises:
    ValueError: If `global_batch` is not divisible by `cores`, if no full batch
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
    fits_lengths: Callable[..., np.ndarray] | None = None,
    augmentation: Augmentation | None = None,
  ):
    inserted = list(inserted or ())
    _check_arguments(global_batch, cores, inserted, total_steps)
    self.global_batch = global_batch
    sources = as_list(records)
    self._tokenizer = tokenizer
    rows = Utterances(sources)
    self._count = len(rows)
    self._augmentation, self._seed = augmentation or Augmentation(), seed
    lengths = rows.samples()
    counts, repeats = rows.count_labels(tokenizer)
    # The inserted ones are numbered after them all.
    self._utterances = Utterances(sources + [i.source for i in inserted])
    self._extra, extra = self._inserted(inserted)
    if bucket_boundaries_seconds is None:
      slowest = Change(self._augmentation.slowest)
      longest = slowest.samples(int(lengths.max()))
      longest = max(longest, *(n for _, n in extra), 0)
      self.shapes = (longest,)
    else:
      rate = sources[0].sample_rate
      self.shapes = bucket_shapes(bucket_boundaries_seconds, rate)
    self.filtered = {}
    self._limits = limits = Limits(
      self.shapes[-1], max_labels, fits, fits_lengths
    )
    for insertion, row, (ids, samples) in zip(inserted, self._extra, extra):
      why = limits.complaint(ids, samples)
      if why or insertion.repeats < 1:
        raise ValueError(
          "`inserted` must hold utterances that can be trained on, with "
          f"repeats of at least 1. Received: id={self._id(row)!r}, "
          f"reason={why}, repeats={insertion.repeats}"
        )
    kept = np.arange(self._count)
    for why, bad in limits.checks(counts, repeats, lengths, self._labels):
      bad = bad(kept)
      self._leave_out(why, kept[bad])
      kept = kept[~bad]
    require_batch(global_batch, len(kept), self._count, self.filtered)
    slow = np.ceil(lengths[kept] / self._augmentation.slowest)
    self.shapes, self._buckets = buckets.fill(
      kept, lengths, slow, self.shapes, global_batch
    )
    for why, ids in self.filtered.items():
      shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
      logging.warning("left out %d utterances, %s: %s", len(ids), why, shown)
    self.bucket_sizes = tuple(map(len, self._buckets))
    self._damage = damage.Damage(damaged_limit, self.utterances)
    widths = [int(counts[bucket].max()) for bucket in self._buckets]
    self.max_labels = max_labels or max(
      widths + [len(ids or ()) for ids, _ in extra]
    )
    self._order = Order(
      [len(bucket) for bucket in self._buckets],
      global_batch,
      seed,
      [
        (self._bucket_of(row, samples), insertion.repeats)
        for insertion, row, (_, samples) in zip(inserted, self._extra, extra)
      ],
      total_steps or 0,
    )

  def __len__(self):
    """Steps of an epoch."""
    return self._order.steps_per_epoch

  @property
  def utterances(self) -> int:
    """Number of utterances in use, insertions not counted."""
    return sum(self.bucket_sizes)

  def ids(self, step: int) -> list[str]:
    """Ids of the utterances of a step, in the order of the rows.

    Args:
      step: Number of the step, from 0.

    Returns:
      List of `global_batch` strings.
    """
    bucket, rows = self._order.rows(step)
    return [self._id(self._row(bucket, row)) for row in rows]

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
    read = self._utterances.map(
      lambda place: self._read(bucket, int(place)), rows[start:stop]
    )
    labels = self._labels([row for row, _ in read])
    waveforms = [waveform for _, waveform in read]
    if self._augmentation:
      waveforms = [
        self._augmented(waveform, ids, self.shapes[bucket], step, place)
        if rows[place] >= 0
        else waveform
        for place, (waveform, ids) in enumerate(zip(waveforms, labels), start)
      ]
    return assemble(
      waveforms,
      labels,
      self.shapes[bucket],
      self.max_labels,
    )

  def dataset(
    self,
    start_step: int = 0,
    stop_step: int | None = None,
    num_pipelines: int = 1,
    pipeline: int = 0,
    on_host: bool = False,
  ) -> "tf.data.Dataset":
    """The batches from a step on.

    Args:
      start_step: First step. Default 0.
      stop_step: One after the last step. Default: without end.
      num_pipelines: Number of hosts that share each global batch. Default 1.
      pipeline: Which of them this is; it gets its contiguous rows. Default 0.
      on_host: Whether TensorFlow's own ops read the audio on the host where the
        data set is placed: see `tf_pcc.data.host_reading`. Default: Python
        reads it in this process.

    Returns:
      tf.data.Dataset of (x, y), with b = global_batch / num_pipelines:
      `x = {"audio": float32 [b, S] in [-1, 1], "audio_length": int32 [b]}`,
      `y = {"labels": int32 [b, U], "label_length": int32 [b]}`. With one bucket
      all shapes are static; with more, S is one of `shapes`.

    Raises:
      ValueError: If the share of a pipeline is not a whole number of rows, or
        `on_host` does not go with what this object was made with.
    """
    import tensorflow as tf

    first, rows = share(self.global_batch, num_pipelines, pipeline)
    steps = tf.data.Dataset.range(
      start_step, _ENDLESS if stop_step is None else stop_step
    )
    width = self.shapes[0] if len(self.shapes) == 1 else None
    if not on_host:
      return pipeline_of(
        steps,
        lambda step: self.batch(int(step), first, first + rows),
        [rows, width],
        self.max_labels,
      )
    if self._augmentation or self._damage.limit:
      raise ValueError(
        "Where each host of a TPU reads its own utterances they cannot be "
        "changed or replaced in Python: leave out the augmentation and "
        "damaged_limit. Received: "
        f"augmentation={self._augmentation}, damaged_limit={self._damage.limit}"
      )
    self._utterances.place(self._row(0, 0))  # An error now, not in a thread.
    return host_reading.pipeline_of(
      steps,
      lambda step: self._described(int(step), first, first + rows),
      rows,
      width,
      self.max_labels,
    )

  def require_whole(self, steps: Iterable[int]) -> None:
    """Reads all records of some steps, to name the one that is damaged.

    Args:
      steps: Numbers of steps.

    Raises:
      DamagedRecord: If one is.
    """
    for step in steps:
      bucket, places = self._order.rows(step)
      rows = [self._row(bucket, int(place)) for place in places]
      self._utterances.map(self._utterances.read, rows)

  @property
  def damaged(self) -> dict[str, str]:
    return dict(self._damage.found)

  def _row(self, bucket, place):
    """The number among all utterances of what `Order.rows` gives."""
    return int(
      self._buckets[bucket][place] if place >= 0 else self._extra[~place]
    )

  def _described(self, step, start, stop):
    """The `host_reading.Rows` of rows `start` to `stop` of a step."""
    bucket, places = self._order.rows(step)
    rows = [self._row(bucket, int(place)) for place in places[start:stop]]
    return host_reading.rows_of(
      map(self._utterances.place, rows),
      self._utterances.lengths(rows),
      self._labels(rows),
      self.shapes[bucket],
      self.max_labels,
    )

  def _read(self, bucket, place):
    """The number and the waveform of a row, or of the next that is whole."""
    size, tried = len(self._buckets[bucket]), 0
    while True:
      row = self._row(bucket, place)
      try:
        return row, self._utterances.read(row)
      except DamagedRecord as error:
        if place < 0:
          raise
        self._damage.note(self._id(row), error)
        tried += 1
        if tried == size:
          raise
      place = (place + 1) % size

  def _augmented(self, waveform, ids, longest, step, place):
    key = [self._seed, _AUGMENTATION, step, place]
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    change = self._augmentation.draw(random)
    samples = change.samples(len(waveform))
    if samples > longest or self._limits.complaint(ids, samples):
      change = dataclasses.replace(change, speed=1.0)
    return change.apply(waveform, random)

  def _id(self, row):
    return self._utterances.id(row)

  def _labels(self, rows):
    return self._utterances.labels(rows, self._tokenizer)

  def _bucket_of(self, row, samples):
    bucket = int(np.searchsorted(self.shapes, samples))
    if bucket == len(self.shapes):
      raise ValueError(
        "`inserted` must fit in a bucket that fills a batch, so in "
        f"{self.shapes[-1]} samples. Received: id={self._id(row)!r}"
      )
    return bucket

  def _inserted(self, inserted):
    """Their numbers among all utterances, and (labels, samples) of each."""
    sizes = [len(insertion.source) for insertion in inserted]
    starts = self._count + np.cumsum([0, *sizes])
    rows = [int(start) + i.index for start, i in zip(starts, inserted)]
    samples = [int(i.source.samples[i.index]) for i in inserted]
    return rows, list(zip(self._labels(rows), samples))

  def _leave_out(self, why, rows):
    if len(rows):
      self.filtered[why] = [self._id(row) for row in rows]


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

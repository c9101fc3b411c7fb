"""Batches for evaluation: every utterance once, none left out."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from tf_pcc.data.assembly import (
  assemble,
  bucket_shapes,
  entries_of,
  pipeline_of,
  share,
)

if TYPE_CHECKING:
  import tensorflow as tf

  from tf_pcc.data.tokenizers import Tokenizer


class EvaluationBatches:
  """Every utterance once, in batches of static shape; see
  `evaluation_batches`.

  Attributes:
    rows: int64 array `[steps, batch_size]`: the number of each row's utterance
      in the records, or -1 for a filled row.
    shapes: Tuple with the samples S of each step.
    unencodable: Ids of utterances outside the vocabulary.
  """

  def __init__(
    self,
    records: Any,
    tokenizer: "Tokenizer",
    batch_size: int,
    boundaries: Iterable[float] | None,
    max_labels: int | None,
  ):
    if batch_size < 1:
      raise ValueError(
        f"`batch_size` must be positive. Received: batch_size={batch_size}"
      )
    if not len(records):
      raise ValueError("`records` must hold at least one utterance.")
    self._records = records
    self._entries = entries_of([records], tokenizer)
    self.batch_size = batch_size
    self.unencodable = [
      records.ids[e.index] for e in self._entries if e.labels is None
    ]
    if self.unencodable:
      logging.warning(
        "%d utterances are outside the vocabulary and have no labels: %s",
        len(self.unencodable),
        ", ".join(self.unencodable[:5]),
      )
    longest = int(max(records.samples))
    shapes = [longest]
    if boundaries:
      shapes = list(bucket_shapes(boundaries, records.sample_rate))
      if shapes[-1] < longest:
        shapes.append(longest)
    rows, self.shapes = [], []
    homes = np.searchsorted(shapes, records.samples)
    for bucket, shape in enumerate(shapes):
      members = np.flatnonzero(homes == bucket)
      for start in range(0, len(members), batch_size):
        part = members[start : start + batch_size]
        rows.append(
          np.pad(part, (0, batch_size - len(part)), constant_values=-1)
        )
        self.shapes.append(shape)
    self.rows = np.stack(rows)
    self.shapes = tuple(self.shapes)
    self.max_labels = max_labels or max(
      [len(e.labels) for e in self._entries if e.labels] or [1]
    )

  def __len__(self):
    return len(self.rows)

  def __iter__(self):
    return iter(self.dataset())

  def batch(
    self, step: int, start: int = 0, stop: int | None = None
  ) -> tuple[np.ndarray, ...]:
    """As `Batches.batch`, and the weights float32 `[b]`."""
    rows = self.rows[step]
    # Padding repeats a real row to avoid zero-length audio.
    entries = [
      self._entries[i if i >= 0 else rows[0]] for i in rows[start:stop]
    ]
    arrays = assemble(
      ((self._records.read(e.index), e.labels) for e in entries),
      len(entries),
      self.shapes[step],
      self.max_labels,
    )
    return *arrays, (rows[start:stop] >= 0).astype(np.float32)

  def dataset(
    self, num_pipelines: int = 1, pipeline: int = 0
  ) -> "tf.data.Dataset":
    """The batches as a tf.data.Dataset of (x, y, weight).

    Args:
      num_pipelines: As for `Batches.dataset`.
      pipeline: As for `Batches.dataset`.

    Returns:
      x and y as for `Batches.dataset`; weight float32 `[b]`, 0 for filled rows.
    """
    import tensorflow as tf

    first, rows = share(self.batch_size, num_pipelines, pipeline)
    one = len(set(self.shapes)) == 1
    return pipeline_of(
      tf.data.Dataset.range(len(self)),
      lambda step: self.batch(int(step), first, first + rows),
      [rows, self.shapes[0] if one else None],
      self.max_labels,
      weighted=True,
    )


def evaluation_batches(
  records: Any,
  tokenizer: "Tokenizer",
  batch_size: int,
  bucket_boundaries_seconds: Iterable[float] | None = None,
  max_labels: int | None = None,
) -> EvaluationBatches:
  """Batches that hold every utterance exactly once; nothing is left out.

  The last batch of a bucket is filled with rows of weight 0. A text outside the
  vocabulary, or longer than `max_labels`, does not keep its audio from being
  transcribed: the first has no labels here, the second has its first ones.

  Args:
    records: `Records` or `MemoryRecords`.
    tokenizer: A `tf_pcc.data.text.Tokenizer`.
    batch_size: Rows of a batch, over all cores and hosts.
    bucket_boundaries_seconds: Largest length of each bucket in seconds; longer
      utterances get a bucket more. Default: one bucket.
    max_labels: Width of the labels. Default: the longest.

  Returns:
    An `EvaluationBatches`; iterating it yields (x, y, weight), and its `rows`
    says which utterance each row is.

  Example:

  >>> from tf_pcc.data import records, text
  >>> source = records.MemoryRecords([np.zeros(800)] * 3, ["A", "B", "AB"])
  >>> tokenizer = text.CharacterTokenizer("AB")
  >>> batches = evaluation_batches(source, tokenizer, batch_size=2)
  >>> for rows, (x, y, weight) in zip(batches.rows, batches):
  ...   print([source.texts[i] for i in rows if i >= 0], weight.numpy())
  ['A', 'B'] [1. 1.]
  ['AB'] [1. 0.]
  """
  return EvaluationBatches(
    records, tokenizer, batch_size, bucket_boundaries_seconds, max_labels
  )

"""Padded arrays and tf.data pipelines of them."""

import functools
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_pcc.data import under_way
from tf_pcc.data.counting import keep_label_counts as keep_label_counts
from tf_pcc.data.counting import label_counts as label_counts

if TYPE_CHECKING:
  from tf_pcc.data.tokenizer_base import Tokenizer

_PARALLEL_READS = 2
_PREFETCHED = 2


def as_list(records: Any) -> list[Any]:
  """A list of record sources.

  Args:
    records: `Records`, `MemoryRecords`, or a list of them.

  Returns:
    List of them.

  Raises:
    ValueError: If they hold nothing, or their sample rates differ.
  """
  sources = list(records) if isinstance(records, (list, tuple)) else [records]
  rates = {source.sample_rate for source in sources}
  if len(rates) != 1 or not any(map(len, sources)):
    raise ValueError(
      "`records` must hold at least one utterance and have one sample rate. "
      f"Received: records={sources}, rates={sorted(rates)}"
    )
  return sources


class Utterances:
  """The utterances of several sources, numbered through; nothing is copied.

  Args:
    sources: `Records` or `MemoryRecords`.

  Attributes:
    parallel: How many of them are read at a time by `map`.
  """

  def __init__(self, sources: Sequence[Any]):
    self._sources = list(sources)
    self._starts = np.cumsum([0, *map(len, self._sources)])
    # Memory and local files are read fastest by one thread.
    self.parallel = max(getattr(s, "parallel", 1) for s in sources)

  def __len__(self):
    return int(self._starts[-1])

  def samples(self) -> np.ndarray:
    """Their lengths, int64 `[len(self)]`."""
    return np.concatenate([source.samples for source in self._sources])

  def lengths(self, rows: Iterable[int]) -> list[int]:
    """The lengths of some utterances.

    Args:
      rows: Numbers.

    Returns:
      Samples of each.
    """
    places = map(self._place, rows)
    return [int(source.samples[index]) for source, index in places]

  def id(self, row: int) -> str:
    """The id of an utterance.

    Args:
      row: Its number.

    Returns:
      The id.
    """
    source, index = self._place(row)
    return source.ids[index]

  def read(self, row: int) -> np.ndarray:
    """The waveform of an utterance.

    Args:
      row: Its number.

    Returns:
      int16 array `[samples]`.
    """
    source, index = self._place(row)
    return source.read(index)

  def place(self, row: int) -> Any:
    """Where an utterance is.

    Args:
      row: Number.

    Returns:
      As `Records.place`, or the int16 waveform of one that is in no file.
    """
    source, index = self._place(row)
    return source.place(index)

  def map(self, read: Callable[[int], Any], rows: Iterable[int]) -> list[Any]:
    """Calls a function that reads for each of some rows.

    Args:
      read: Function of a row. Where sources wait for a network, several threads
        call it.
      rows: Numbers.

    Returns:
      What it returns, in the order of the rows.
    """
    return list((self._threads.map if self._threads else map)(read, rows))

  @functools.cached_property
  def _threads(self):
    if self.parallel == 1:
      return None
    return futures.ThreadPoolExecutor(self.parallel, "tf_pcc-read")

  def labels(
    self, rows: Iterable[int], tokenizer: "Tokenizer"
  ) -> list[list[int] | None]:
    """The label ids of some utterances.

    Args:
      rows: Their numbers.
      tokenizer: A `tf_pcc.data.text.Tokenizer`.

    Returns:
      List with a list of ints for each; None where it does not know the text.
    """
    places = map(self._place, rows)
    texts = [source.texts[index] for source, index in places]
    return tokenizer.encode_batch(texts, strict=False)

  def count_labels(
    self, tokenizer: "Tokenizer"
  ) -> tuple[np.ndarray, np.ndarray]:
    """`label_counts` of all utterances.

    Args:
      tokenizer: A `tf_pcc.data.text.Tokenizer`.

    Returns:
      (int32 `[len(self)]`, labels of each, -1 where the text is outside the
      vocabulary; int32 `[len(self)]`, how many of them equal the one before).
    """
    counts = [label_counts(tokenizer, s.texts) for s in self._sources]
    labels, repeats = (np.concatenate(parts) for parts in zip(*counts))
    return labels, repeats

  def _place(self, row):
    source = int(np.searchsorted(self._starts, row, side="right")) - 1
    return self._sources[source], int(row - self._starts[source])


def bucket_shapes(
  boundaries_seconds: Iterable[float], sample_rate: int
) -> tuple[int, ...]:
  """The most samples of each bucket.

  Args:
    boundaries_seconds: Largest length of each bucket in seconds.
    sample_rate: Rate in Hz.

  Returns:
    Tuple of ints.

  Raises:
    ValueError: If the boundaries are not positive and increasing.
  """
  boundaries = list(boundaries_seconds)
  increasing = all(a < b for a, b in zip(boundaries[:-1], boundaries[1:]))
  if not boundaries or boundaries[0] <= 0 or not increasing:
    raise ValueError(
      "`bucket_boundaries_seconds` must be positive and increasing. "
      f"Received: bucket_boundaries_seconds={boundaries}"
    )
  return tuple(round(seconds * sample_rate) for seconds in boundaries)


def share(batch: int, num_pipelines: int, pipeline: int) -> tuple[int, int]:
  """The rows of a batch that one host reads.

  Args:
    batch: Rows of the batch.
    num_pipelines: Number of hosts.
    pipeline: Which of them, from 0.

  Returns:
    (first row, number of rows).

  Raises:
    ValueError: If the hosts do not divide the batch, or there is no such host.
  """
  if num_pipelines < 1 or batch % num_pipelines:
    raise ValueError(
      "The batch must be divisible by the number of pipelines. "
      f"Received: batch={batch}, num_pipelines={num_pipelines}"
    )
  if not 0 <= pipeline < num_pipelines:
    raise ValueError(
      f"`pipeline` must be in [0, {num_pipelines}). "
      f"Received: pipeline={pipeline}"
    )
  return pipeline * (batch // num_pipelines), batch // num_pipelines


def assemble(
  waveforms: Iterable[np.ndarray],
  labels: Sequence[Sequence[int] | None],
  samples: int,
  width: int,
) -> tuple[np.ndarray, ...]:
  """Pads utterances to arrays.

  Args:
    waveforms: int16 each, as many as labels: b.
    labels: Label ids of each, or None.
    samples: Width S of the audio.
    width: Width U of the labels; more of them are cut.

  Returns:
    audio int16 `[b, S]`, its length int32 `[b]`, labels int32 `[b, U]`, their
    length int32 `[b]`.
  """
  audio = np.zeros([len(labels), samples], np.int16)
  lengths = np.zeros(len(labels), np.int32)
  for row, waveform in enumerate(waveforms):
    audio[row, : len(waveform)] = waveform
    lengths[row] = len(waveform)
  return audio, lengths, *pad_labels(labels, width)


def pad_labels(
  labels: Sequence[Sequence[int] | None], width: int
) -> tuple[np.ndarray, np.ndarray]:
  """Pads label ids to an array.

  Args:
    labels: Label ids of each of b utterances, or None.
    width: U; more of them are cut.

  Returns:
    labels int32 `[b, U]`, their length int32 `[b]`.
  """
  padded = np.zeros([len(labels), width], np.int32)
  lengths = np.zeros(len(labels), np.int32)
  for row, ids in enumerate(labels):
    ids = (ids or [])[:width]
    padded[row, : len(ids)], lengths[row] = ids, len(ids)
  return padded, lengths


def pipeline_of(
  steps: Any,
  read: Callable[..., Any],
  audio_shape: Sequence[int | None],
  width: int,
) -> Any:
  """Maps step numbers to batches; 16-bit audio becomes float in the graph.

  Args:
    steps: tf.data.Dataset of int64 scalars.
    read: Function of a step: the arrays that `assemble` returns.
    audio_shape: `[rows, samples]`, with None for what varies.
    width: Width U of the labels.

  Returns:
    tf.data.Dataset of (x, y) as `batching.Batches.dataset` returns it.
  """
  import tensorflow as tf

  rows = audio_shape[0]
  types = [tf.int16, tf.int32, tf.int32, tf.int32]
  shapes = [audio_shape, [rows], [rows, width], [rows]]

  read = under_way.at_most_until_exit(read)

  def load(step):
    arrays = tf.numpy_function(read, [step], types, stateful=False)
    for array, shape in zip(arrays, shapes):
      array.set_shape(shape)
    audio, audio_length, labels, label_length = arrays
    audio = tf.cast(audio, tf.float32) / 32768
    x = {"audio": audio, "audio_length": audio_length}
    y = {"labels": labels, "label_length": label_length}
    return x, y

  loaded = steps.map(
    load, num_parallel_calls=_PARALLEL_READS, deterministic=True
  )
  options = tf.data.Options()
  # Nothing is left to tune, and an iterator that goes away waits for its tuner
  # to wake up, after a long run for up to a minute.
  options.autotune.enabled = False
  return loaded.prefetch(_PREFETCHED).with_options(options)

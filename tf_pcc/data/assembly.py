"""Padded arrays and tf.data pipelines of them."""

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
  from tf_pcc.data.tokenizers import Tokenizer

_PARALLEL_READS = 2
_PREFETCHED = 2

# One utterance to be batched: its source's number, its number there, and its
# label ids, or None if they cannot be had.
Entry = collections.namedtuple("Entry", ("source", "index", "labels"))


def as_list(records: Any) -> list[Any]:
  """A list of the record sources, which must agree on the rate."""
  sources = list(records) if isinstance(records, (list, tuple)) else [records]
  rates = {source.sample_rate for source in sources}
  if len(rates) != 1 or not any(map(len, sources)):
    raise ValueError(
      "`records` must hold at least one utterance and have one sample rate. "
      f"Received: records={sources}, rates={sorted(rates)}"
    )
  return sources


def entries_of(sources: Sequence[Any], tokenizer: "Tokenizer") -> "list[Entry]":
  """An `Entry` for every utterance of every source."""
  return [
    Entry(number, index, labels)
    for number, source in enumerate(sources)
    for index, labels in enumerate(
      tokenizer.encode_batch(source.texts, strict=False)
    )
  ]


def bucket_shapes(
  boundaries_seconds: Iterable[float], sample_rate: int
) -> tuple[int, ...]:
  """Samples of each bucket."""
  boundaries = list(boundaries_seconds)
  increasing = all(a < b for a, b in zip(boundaries[:-1], boundaries[1:]))
  if not boundaries or boundaries[0] <= 0 or not increasing:
    raise ValueError(
      "`bucket_boundaries_seconds` must be positive and increasing. "
      f"Received: bucket_boundaries_seconds={boundaries}"
    )
  return tuple(round(seconds * sample_rate) for seconds in boundaries)


def share(batch: int, num_pipelines: int, pipeline: int) -> tuple[int, int]:
  """First row and number of rows of one pipeline."""
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
  utterances: Iterable[tuple[np.ndarray, Sequence[int] | None]],
  rows: int,
  samples: int,
  width: int,
) -> tuple[np.ndarray, ...]:
  """Pads utterances to arrays.

  Args:
    utterances: Iterable of `rows` pairs (int16 waveform, label ids or None).
    rows: Their number, b.
    samples: Width S of the audio.
    width: Width U of the labels; more of them are cut.

  Returns:
    audio int16 `[b, S]`, its length int32 `[b]`, labels int32 `[b, U]`, their
    length int32 `[b]`.
  """
  audio = np.zeros([rows, samples], np.int16)
  labels = np.zeros([rows, width], np.int32)
  lengths = np.zeros([2, rows], np.int32)
  for row, (waveform, ids) in enumerate(utterances):
    ids = (ids or [])[:width]
    audio[row, : len(waveform)] = waveform
    labels[row, : len(ids)] = ids
    lengths[:, row] = len(waveform), len(ids)
  return audio, lengths[0], labels, lengths[1]


def pipeline_of(
  steps: Any,
  read: Callable[..., Any],
  audio_shape: Sequence[int | None],
  width: int,
) -> Any:
  """Maps step numbers to batches; 16-bit audio becomes float in the graph."""
  import tensorflow as tf

  rows = audio_shape[0]
  types = [tf.int16, tf.int32, tf.int32, tf.int32]
  shapes = [audio_shape, [rows], [rows, width], [rows]]

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

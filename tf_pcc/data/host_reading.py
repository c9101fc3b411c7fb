"""Batches that TensorFlow reads on the host where the data set is placed.

One program drives all hosts of a Cloud TPU. Python functions of a data set run
in that program, wherever the data set is placed. Were they to read the audio,
all of it would pass through one process and one network card. Here Python says
only which records a step has: their files, offsets and labels, some hundred
bytes an utterance. TensorFlow's own ops read and check the audio on each host.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tf_pcc.data import storage, under_way
from tf_pcc.data.assembly import pad_labels
from tf_pcc.data.shards import AFTER, BEFORE, DamagedRecord

if TYPE_CHECKING:
  import tensorflow as tf

_AHEAD = 2


class Place(NamedTuple):
  """Where the record of an utterance is.

  Attributes:
    path: File of records, local or anything tf.io.gfile reads.
    offset: Where the record begins in it, in bytes, its framing included.
    size: Of the record's data, in bytes.
    id: The utterance's.
  """

  path: str
  offset: int
  size: int
  id: str


class Rows(NamedTuple):
  """The rows of a step that one host reads: what crosses the network.

  Attributes:
    path: Object array of bytes `[b]`, as in `Place`.
    offset: int64 `[b]`.
    size: int64 `[b]`.
    id: Object array of bytes `[b]`.
    inline: Object array of bytes `[b]`: 16-bit samples of an utterance that is
      in no file, b"" for one that is.
    samples: int32 `[b]`.
    labels: int32 `[b, U]`.
    label_length: int32 `[b]`.
    width: int32 `[b]`, samples to pad to; equal in all rows of a step.
  """

  path: np.ndarray
  offset: np.ndarray
  size: np.ndarray
  id: np.ndarray
  inline: np.ndarray
  samples: np.ndarray
  labels: np.ndarray
  label_length: np.ndarray
  width: np.ndarray


def rows_of(
  sources: Iterable[Place | np.ndarray],
  samples: Sequence[int],
  labels: Sequence[Sequence[int] | None],
  width: int,
  label_width: int,
) -> Rows:
  """Puts together the rows of a step.

  Args:
    sources: For each row its place, or an int16 waveform `[samples]`.
    samples: Length of each.
    labels: Label ids of each, or None.
    width: Samples S that each is padded to.
    label_width: U; more labels are cut.

  Returns:
    `Rows`.
  """
  places, inline = [], []
  for source in sources:
    place = isinstance(source, Place)
    places.append(source if place else Place("", 0, 0, ""))
    inline.append(b"" if place else source.astype("<i2").tobytes())
  return Rows(
    _strings(place.path.encode() for place in places),
    np.array([place.offset for place in places], np.int64),
    np.array([place.size for place in places], np.int64),
    _strings(place.id.encode() for place in places),
    _strings(inline),
    np.array(samples, np.int32),
    *pad_labels(labels, label_width),
    np.full(len(places), width, np.int32),
  )


def pipeline_of(
  steps: "tf.data.Dataset",
  describe: Callable[[Any], Rows],
  count: int,
  width: int | None,
  label_width: int,
) -> "tf.data.Dataset":
  """Maps step numbers to batches, read where the data set is placed.

  Args:
    steps: Data set of int64 scalars.
    describe: Function of a step to its `Rows`. It runs in the program that
      makes the data set.
    count: b, rows of a step that this host reads.
    width: S, samples of each; None where it differs from step to step.
    label_width: U.

  Returns:
    tf.data.Dataset as that of `tf_pcc.data.batching.Batches.dataset`. A record
    that is damaged, or is not the one that was asked for, raises a
    tf.errors.DataLossError or InvalidArgumentError in who iterates.
  """
  import tensorflow as tf

  types = [tf.string, tf.int64, tf.int64, tf.string, tf.string]
  types += [tf.int32] * 4

  describe = under_way.at_most_until_exit(describe)

  def rows(step):
    found = Rows(*tf.numpy_function(describe, [step], types, stateful=False))
    for name, array in found._asdict().items():
      wide = [label_width] if name == "labels" else []
      array.set_shape([count, *wide])
    return found

  def read(row):
    waveform = tf.cond(
      tf.equal(row.path, ""),
      lambda: tf.io.decode_raw(row.inline, tf.int16, little_endian=True),
      lambda: _record(row),
    )
    waveform = tf.pad(waveform, [[0, row.width - row.samples]])
    waveform.set_shape([width])
    x = {"audio": tf.cast(waveform, tf.float32) / 32768}
    x["audio_length"] = row.samples
    y = {"labels": row.labels, "label_length": row.label_length}
    return x, y

  described = steps.map(rows, num_parallel_calls=1).prefetch(_AHEAD)
  utterances = described.unbatch().map(
    read,
    num_parallel_calls=storage.PARALLEL,
    deterministic=True,
  )
  options = tf.data.Options()
  # As in `tf_pcc.data.assembly`; and a read that waits for a network holds its
  # thread.
  options.autotune.enabled = False
  options.threading.private_threadpool_size = storage.PARALLEL
  batches = utterances.batch(count, drop_remainder=True)
  return batches.prefetch(_AHEAD).with_options(options)


@contextlib.contextmanager
def damage_named(batches: Any, steps: Iterable[int]) -> Iterator[None]:
  """Makes what a host finds damaged the error that names the record.

  TensorFlow's own words are "corrupted record at", and no file.

  Args:
    batches: `tf_pcc.data.batching.Batches` whose steps are taken in the
      context.
    steps: Their numbers.

  Yields:
    Nothing.

  Raises:
    DamagedRecord: If one of their records is damaged; it is read again here.
  """
  from tensorflow import errors

  try:
    yield
  except (errors.DataLossError, errors.InvalidArgumentError) as error:
    # What Python read is named already.
    if DamagedRecord.__name__ not in error.message:
      batches.require_whole(steps)
    raise


def _record(row):
  """The samples of a record, int16, checked; in a graph."""
  import tensorflow as tf

  # The op checks the CRC32C of the length and of the data. It buffers as much
  # as the record has, so that one read of the file brings it.
  variant = tf.raw_ops.TFRecordDatasetV2(
    filenames=[row.path],
    compression_type="",
    buffer_size=BEFORE + row.size + AFTER,
    byte_offsets=[row.offset],
  )
  records = tf.data.experimental.from_variant(
    variant, tf.TensorSpec([], tf.string)
  )
  example = tf.io.parse_single_example(
    records.take(1).get_single_element(),
    {name: tf.io.FixedLenFeature([], tf.string) for name in ("audio", "id")},
  )
  waveform = tf.io.decode_raw(example["audio"], tf.int16, little_endian=True)
  right = tf.equal(example["id"], row.id) & tf.equal(
    tf.size(waveform), row.samples
  )
  check = tf.debugging.Assert(
    right, ["it is another record", row.path, row.offset, example["id"]]
  )
  with tf.control_dependencies([check]):
    return tf.identity(waveform)


def _strings(values):
  """An object array, whose bytes keep the zeros at their ends."""
  values = list(values)
  array = np.empty(len(values), object)
  array[:] = values
  return array

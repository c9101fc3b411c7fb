"""Prepared utterances: read a records directory in any order.

`Records` reads what `tf_pcc.data.writing` wrote; `MemoryRecords` has the same
methods for waveforms that are already in memory, such as canaries. Records of
16-bit PCM need core TensorFlow only.
"""

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_pcc.data import audio
from tf_pcc.data import index as index_
from tf_pcc.data import shards as shards_
from tf_pcc.data.host_reading import Place
from tf_pcc.data.index import ENCODINGS, digest, shard_name
from tf_pcc.data.shards import DamagedRecord
from tf_pcc.data.writing import write_records, write_shards

if TYPE_CHECKING:
  import tensorflow as tf

__all__ = [
  "ENCODINGS",
  "DamagedRecord",
  "MemoryRecords",
  "Records",
  "is_records",
  "write_records",
  "write_shards",
]


def is_records(path: str | os.PathLike) -> bool:
  """Whether a path is a records directory, local or anything gfile reads.

  Args:
    path: where it would be.

  Returns:
    bool.
  """
  from tensorflow.io import gfile

  return gfile.exists(os.path.join(path, "index.json"))


class Records:
  """A records directory, open for reading.

  Args:
    directory: What `write_records` made, local or anything tf.io.gfile reads.

  Attributes:
    directory: The directory's path.
    index: The index without its per-record columns: a dict with `encoding`,
      `sample_rate`, `utterances`, `seconds`, `sha256`, `skipped` and so on.
    ids: Sequence of utterance ids. It and the next two are tuples, or columns
      of a file mapped into memory where there are many.
    texts: Sequence of transcripts.
    speakers: Sequence of speaker names.
    samples: int64 array `[utterances]`, lengths in samples.
    sample_rate: Rate in Hz.
    normalizer: The `normalizers.signature` of what the transcripts went through
      when they were written, or "".
    parallel: How many `read` at a time serve best: 1 of local files, more
      where each waits for a network.

  Raises:
    ValueError: If the directory holds no finished records.
  """

  def __init__(self, directory: str | os.PathLike):
    self.directory = os.fspath(directory).rstrip("/")
    self.index, columns = index_.read(self.directory)
    self.ids, self.texts, self.speakers = (
      columns[name] for name in index_.TEXTS
    )
    self.samples, self._shard, self._offset, self._size = (
      columns[name] for name in index_.NUMBERS
    )
    self.sample_rate = self.index["sample_rate"]
    self.normalizer = self.index.get("normalizer", "")
    # What each record holds, whatever becomes of `texts`.
    self._described = (self.ids, self.texts, self.speakers, self.samples)
    self._shards = shards_.Shards(self.paths())
    self.parallel = self._shards.parallel

  def __len__(self):
    return len(self.ids)

  def __repr__(self):
    return f"Records({self.directory!r}, utterances={len(self)})"

  def read(self, i: int) -> np.ndarray:
    """Reads one utterance's audio; several threads may call this.

    Args:
      i: Number of the record, in [0, len(self)).

    Returns:
      int16 array `[samples[i]]`, mono, at `sample_rate`.

    Raises:
      DamagedRecord: If the record is not the one that was written.
    """
    data = self.example(i).features.feature["audio"].bytes_list.value[0]
    if self.index["encoding"] == "pcm16":
      waveform = np.frombuffer(data, "<i2")
    else:
      waveform = audio.decode_flac(data)
    if len(waveform) != self.samples[i]:
      raise self._damaged(i, f"it has {len(waveform)} samples")
    return waveform

  def example(self, i: int) -> "tf.train.Example":
    """The tf.train.Example of a record.

    Args:
      i: Its number.

    Returns:
      `tf.train.Example`.

    Raises:
      DamagedRecord: If `read` would raise it.
    """
    import tensorflow as tf

    where = (column[i] for column in (self._shard, self._offset, self._size))
    try:
      data = self._shards.read(*map(int, where))
    except DamagedRecord as error:
      raise self._damaged(i, str(error)) from None
    example = tf.train.Example.FromString(data)
    found = example.features.feature["id"].bytes_list.value[0].decode()
    if found != self.ids[i]:
      raise self._damaged(i, f"it is {found!r}")
    return example

  def place(self, i: int) -> Place:
    """Where record `i` is, for reading with TensorFlow's own ops.

    Args:
      i: Number of the record, in [0, len(self)).

    Returns:
      `host_reading.Place`.

    Raises:
      ValueError: If the records hold FLAC, which core TensorFlow cannot decode.
    """
    if self.index["encoding"] != "pcm16":
      raise ValueError(
        "Records must hold 16-bit PCM where each host of a TPU reads its own: "
        "prepare them with python -m launch.prepare --encoding=pcm16. "
        f"Received: encoding={self.index['encoding']}, records={self.directory}"
      )
    return Place(
      self._shards.paths[self._shard[i]],
      int(self._offset[i]) - shards_.BEFORE,
      int(self._size[i]),
      self.ids[i],
    )

  def paths(self) -> list[str]:
    """Paths of the shards, in order."""
    shards = len(self.index["shards"])
    return [
      f"{self.directory}/{shard_name(number, shards)}"
      for number in range(shards)
    ]

  def dataset(self) -> "tf.data.Dataset":
    """All records in their order as a tf.data.Dataset, decoded in the graph.

    Returns:
      Dataset of dicts: `audio` float32 `[samples]` in [-1, 1], `text`, `id` and
      `speaker`, strings. FLAC records need tensorflow-io here.
    """
    import tensorflow as tf

    features = {
      name: tf.io.FixedLenFeature([], tf.string)
      for name in ("audio", "text", "id", "speaker")
    }
    kind, rate = self.index["encoding"], self.sample_rate

    def parse(data):
      record = tf.io.parse_single_example(data, features)
      waveform = audio.decode_in_graph(record["audio"], kind, rate)
      return {**record, "audio": waveform}

    shards = tf.data.TFRecordDataset(self.paths())
    return shards.map(parse, num_parallel_calls=tf.data.AUTOTUNE)

  def verify(self) -> None:
    """Reads everything and compares it with the index and its SHA-256.

    Raises:
      ValueError: If a shard is damaged, or a record is not the one that the
        index describes; the first is named.
    """
    import tensorflow as tf

    path = f"{self.directory}/index.json"
    if digest(self.index["shards"]) != self.index["sha256"]:
      raise index_.wrong(path, "it is damaged: its sha256")
    i = 0
    for path, expected in zip(self.paths(), self.index["shards"]):
      content = hashlib.sha256()
      try:
        for data in tf.data.TFRecordDataset(path).as_numpy_iterator():
          content.update(bytes(data))
          if i < len(self):
            self._compare(i, tf.train.Example.FromString(data))
          i += 1
      except tf.errors.DataLossError as error:
        if i >= len(self):
          raise index_.wrong(path, "it is damaged at its end") from error
        raise self._damaged(i, "its bytes or their framing") from error
      if content.hexdigest() != expected:
        raise index_.wrong(
          path, "it is damaged: its SHA-256 is not the index's"
        )

  def _compare(self, i, example):
    """Raises a DamagedRecord if the index says something else of a record."""
    features = example.features.feature
    found = [
      *(
        features[name].bytes_list.value[0].decode()
        for name in ("id", "text", "speaker")
      ),
      features["samples"].int64_list.value[0],
    ]
    expected = [column[i] for column in self._described]
    if found != expected:
      raise self._damaged(i, f"it has {found}, the index {expected}")

  def _damaged(self, i, what):
    path = self._shards.paths[self._shard[i]]
    return DamagedRecord(
      f"{path}: the record of {self.ids[i]!r}, {self.samples[i]} samples at "
      f"byte {self._offset[i]}, is damaged: {what}; restore a copy of the file "
      "or prepare the corpus again"
    )


class MemoryRecords:
  """Utterances in memory, with the methods of `Records`.

  Args:
    waveforms: Sequence of waveforms `[samples]`, int16 or floats in [-1, 1].
    texts: Their transcripts.
    ids: Their names. Default: "0", "1", ...
    speakers: Their speakers. Default: "" for each.
    sample_rate: Rate in Hz. Default 16000.

  Raises:
    ValueError: If there are not as many texts, ids and speakers as waveforms.

  Example:
    >>> MemoryRecords([np.zeros(16000)], ["HELLO"]).samples
    array([16000])
  """

  def __init__(
    self,
    waveforms: Iterable[Any],
    texts: Iterable[str],
    ids: Iterable[str] | None = None,
    speakers: Iterable[str] | None = None,
    sample_rate: int = audio.SAMPLE_RATE,
  ):
    self._waveforms = [
      w if w.dtype == np.int16 else audio.to_int16(w)
      for w in map(np.asarray, waveforms)
    ]
    count = len(self._waveforms)
    self.texts = tuple(texts)
    self.ids = tuple(map(str, range(count))) if ids is None else tuple(ids)
    self.speakers = ("",) * count if speakers is None else tuple(speakers)
    self.sample_rate = sample_rate
    self.samples = np.array([len(w) for w in self._waveforms], np.int64)
    for name in ("texts", "ids", "speakers"):
      if len(getattr(self, name)) != count:
        raise ValueError(
          f"`{name}` must have one entry for each of {count} waveforms. "
          f"Received: {name} of length {len(getattr(self, name))}"
        )

  def __len__(self):
    return len(self.ids)

  def __repr__(self):
    return f"MemoryRecords(utterances={len(self)})"

  def read(self, i: int) -> np.ndarray:
    """The waveform of an utterance.

    Args:
      i: Its number.

    Returns:
      int16 array `[samples[i]]`.
    """
    return self._waveforms[i]

  def place(self, i: int) -> np.ndarray:
    """What `read` gives, because it is in no file.

    Args:
      i: Number of the utterance.

    Returns:
      int16 array `[samples[i]]`.
    """
    return self._waveforms[i]

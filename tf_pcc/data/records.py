"""Prepared utterances: read a records directory in any order.

`Records` reads what `tf_pcc.data.writing` wrote; `MemoryRecords` has the same
face for waveforms that are already in memory, such as canaries. Records of
16-bit PCM need core TensorFlow only.
"""

import hashlib
import os
import threading

import numpy as np

from tf_pcc import files
from tf_pcc.data import audio
from tf_pcc.data.writing import (
  COLUMNS,
  ENCODINGS,
  FORMAT,
  digest,
  shard_name,
  write_records,
  write_shards,
)

__all__ = [
  "ENCODINGS",
  "MemoryRecords",
  "Records",
  "write_records",
  "write_shards",
]


class Records:
  """A records directory, open for reading.

  Args:
    directory: What `write_records` made, local or anything tf.io.gfile reads.

  Attributes:
    directory: The directory's path.
    index: The index without its per-record columns: a dict with `encoding`,
      `sample_rate`, `utterances`, `seconds`, `sha256`, `skipped` and so on.
    ids: Tuple of utterance ids.
    texts: Tuple of transcripts.
    speakers: Tuple of speaker names.
    samples: int64 array `[utterances]`, lengths in samples.
    sample_rate: Rate in Hz.

  Raises:
    ValueError: if the directory holds no finished records.
  """

  def __init__(self, directory):
    from tensorflow.io import gfile

    self.directory = os.fspath(directory).rstrip("/")
    path = f"{self.directory}/index.json"
    if not gfile.exists(path):
      hint = ""
      if gfile.exists(self.directory + ".partial"):
        hint = " (preparing it was interrupted: run the same command again)"
      raise ValueError(
        f"`directory` must hold an index.json written by launch.prepare{hint}. "
        f"Received: directory={self.directory}"
      )
    self.index = files.read_json(path, "prepare the corpus again")
    if self.index.get("format") != FORMAT:
      raise ValueError(
        f"`directory` must hold records of format {FORMAT}. Received: "
        f"format={self.index.get('format')}, directory={self.directory}"
      )
    columns = self.index.pop("records")
    self.ids, self.texts, self.speakers = (
      tuple(columns[name]) for name in COLUMNS[:3]
    )
    self.samples, self._shard, self._offset, self._size = (
      np.asarray(columns[name], np.int64) for name in COLUMNS[3:]
    )
    self.sample_rate = self.index["sample_rate"]
    self._files = {}
    self._lock = threading.Lock()

  def __len__(self):
    return len(self.ids)

  def __repr__(self):
    return f"Records({self.directory!r}, utterances={len(self)})"

  def read(self, i):
    """Reads one utterance's audio; several threads may call this.

    Args:
      i: Number of the record, in [0, len(self)).

    Returns:
      int16 array `[samples[i]]`, mono, at `sample_rate`.
    """
    data = self.example(i).features.feature["audio"].bytes_list.value[0]
    if self.index["encoding"] == "pcm16":
      return np.frombuffer(data, "<i2")
    return audio.decode_flac(data)

  def example(self, i):
    """The tf.train.Example of record `i`."""
    import tensorflow as tf

    file = self._open(int(self._shard[i]))
    data = file(int(self._offset[i]), int(self._size[i]))
    return tf.train.Example.FromString(data)

  def paths(self):
    """Paths of the shards, in order."""
    shards = len(self.index["shards"])
    return [
      f"{self.directory}/{shard_name(number, shards)}"
      for number in range(shards)
    ]

  def dataset(self):
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

  def verify(self):
    """Reads everything and compares it with the index's SHA-256.

    Raises:
      ValueError: naming the first shard that is damaged.
    """
    import tensorflow as tf

    for path, expected in zip(self.paths(), self.index["shards"]):
      content = hashlib.sha256()
      try:
        for data in tf.data.TFRecordDataset(path).as_numpy_iterator():
          content.update(data)
      except tf.errors.OpError as error:
        raise ValueError(f"{path} is damaged: {error.message}") from error
      if content.hexdigest() != expected:
        raise ValueError(f"{path} is damaged: its SHA-256 is not the index's.")
    if digest(self.index["shards"]) != self.index["sha256"]:
      raise ValueError(f"{self.directory}/index.json is damaged: sha256.")

  def _open(self, shard):
    """A function (offset, size) -> bytes, safe to call from several threads."""
    with self._lock:
      if shard not in self._files:
        self._files[shard] = _reader(self.paths()[shard])
      return self._files[shard]


class _LocalFile:
  """Positioned reads of a local file: no seek, so threads share it freely."""

  def __init__(self, path):
    self._descriptor = os.open(path, os.O_RDONLY)

  def __call__(self, offset, size):
    return os.pread(self._descriptor, size, offset)

  def __del__(self):
    os.close(self._descriptor)


def _reader(path):
  if os.path.exists(path):
    return _LocalFile(path)
  from tensorflow.io import gfile

  def read(offset, size):
    with gfile.GFile(path, "rb") as file:
      file.seek(offset)
      return file.read(size)

  return read


class MemoryRecords:
  """Utterances in memory, with the face of `Records`.

  Args:
    waveforms: Sequence of waveforms `[samples]`, int16 or floats in [-1, 1].
    texts: Their transcripts.
    ids: Their names. Default: "0", "1", ...
    speakers: Their speakers. Default: "" for each.
    sample_rate: Rate in Hz. Default 16000.

  Example:
    >>> MemoryRecords([np.zeros(16000)], ["HELLO"]).samples
    array([16000])
  """

  def __init__(
    self,
    waveforms,
    texts,
    ids=None,
    speakers=None,
    sample_rate=audio.SAMPLE_RATE,
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

  def read(self, i):
    """int16 array `[samples[i]]`."""
    return self._waveforms[i]

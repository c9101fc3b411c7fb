"""Positioned reads of TFRecord files, every record's checksum verified.

A record is 8 bytes of length, 4 of their checksum, the data, and 4 bytes of its
masked CRC32C. TensorFlow's own readers check it where they scan a file; here it
is checked where a record is read by its offset.
"""

import contextlib
import os
import re
import struct
import threading
from collections.abc import Iterable, Iterator

from tf_pcc import extras, files
from tf_pcc.data import storage

google_crc32c = extras.load("google_crc32c", "Reading records", "speech")

# Before and after the data of a record.
BEFORE, AFTER = 12, 4


class DamagedRecord(ValueError):
  """A record whose bytes are not those that were written."""


def masked_crc(data: bytes) -> int:
  """The checksum that TFRecord files hold: CRC32C, rotated, plus a constant.

  Args:
    data: The bytes it is of.

  Returns:
    An unsigned 32-bit number.
  """
  crc = google_crc32c.value(data)
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
  """A record as it stands in a file: its length, checksums and data.

  Args:
    data: The bytes of a record.

  Returns:
    The bytes of the file.
  """
  length = struct.pack("<Q", len(data))
  before, after = (
    struct.pack("<I", masked_crc(part)) for part in (length, data)
  )
  return length + before + data + after


@contextlib.contextmanager
def damage_named() -> Iterator[None]:
  """Makes damage found inside tf.data what it is outside: a `DamagedRecord`.

  TensorFlow wraps what a Python function in a data set raises in an error of
  its own, whose message ends in a trace.
  """
  from tensorflow import errors

  try:
    yield
  except errors.OpError as error:
    found = re.search(rf"{DamagedRecord.__name__}: (.*)", error.message)
    if not found:
      raise
    raise DamagedRecord(found[1]) from error


class Shards:
  """Files of records, read at any place; several threads may read together.

  Args:
    paths: of the files, local or anything tf.io.gfile reads. They are opened
      when they are first read.

  Attributes:
    parallel: how many reads at a time serve best: 1 of local files, more where
      each waits for a network.
  """

  def __init__(self, paths: Iterable[str]):
    self.paths = tuple(paths)
    remote = any(map(files.is_remote, self.paths))
    self.parallel = storage.PARALLEL if remote else 1
    self._files = {}
    self._lock = threading.Lock()

  def read(self, shard: int, offset: int, size: int) -> bytes:
    """Reads the data of one record.

    Args:
      shard: number of the file.
      offset: of the record's data, in bytes.
      size: of the data, in bytes.

    Returns:
      `size` bytes.

    Raises:
      DamagedRecord: If they are not there, or have another checksum.
    """
    data, crc = self._file(shard)(offset, size)
    if len(data) != size or len(crc) != AFTER:
      raise DamagedRecord("the file ends before it does")
    if struct.unpack("<I", crc)[0] != masked_crc(data):
      raise DamagedRecord("its bytes do not have its checksum, a CRC32C")
    return data

  def _file(self, shard):
    """A function (offset, size) -> the data and the checksum after it."""
    with self._lock:
      if shard not in self._files:
        self._files[shard] = _reader(self.paths[shard])
      return self._files[shard]


class _LocalFile:
  """Positioned reads of a local file: no seek, so threads share it freely."""

  def __init__(self, path):
    self._descriptor = os.open(path, os.O_RDONLY)

  def __call__(self, offset, size):
    # Not one read of both: to cut it would copy the data.
    return (
      os.pread(self._descriptor, size, offset),
      os.pread(self._descriptor, AFTER, offset + size),
    )

  def __del__(self):
    if hasattr(self, "_descriptor"):
      os.close(self._descriptor)


def _reader(path):
  if not files.is_remote(path):
    return _LocalFile(path)
  ranges = storage.reader(path) if path.startswith("gs://") else None

  def read(offset, size):
    data = (ranges or through_tensorflow)(offset, size + AFTER)
    return data[:size], data[size:]

  def through_tensorflow(offset, size):
    from tensorflow.io import gfile

    with gfile.GFile(path, "rb") as file:
      file.seek(offset)
      return file.read(size)

  return read

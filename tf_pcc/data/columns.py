"""Columns of millions of rows in one Arrow IPC file, mapped into memory.

No Python object exists for a row until it is asked for.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from tf_pcc import extras, files

# Rows of a record batch in a file, and those that are made Python objects at
# once by who goes through a column.
BATCH = 1 << 16


def arrow() -> ModuleType:
  """pyarrow, or an ImportError that says how to get it."""
  return extras.load("pyarrow", "Reading the index of large records", "hf")


def is_installed() -> bool:
  """Whether pyarrow is."""
  try:
    arrow()
  except ImportError:
    return False
  return True


class Strings(Sequence):
  """A column of strings that looks like a tuple of them.

  Args:
    column: pyarrow.ChunkedArray of strings without nulls.

  Attributes:
    key: what the column's content depends on, str, or "" where it is unknown.
    directory: where what is computed of it may be kept, or "".
  """

  def __init__(self, column: Any, key: str = "", directory: str = ""):
    self.key, self.directory = key, directory
    self._chunks = column.chunks
    self._ends = np.cumsum([len(chunk) for chunk in self._chunks])

  def __len__(self):
    return int(self._ends[-1]) if len(self._ends) else 0

  def __getitem__(self, i):
    if isinstance(i, slice):
      start, stop, step = i.indices(len(self))
      if step == 1:
        return tuple(self._range(start, stop))
      return tuple(self[k] for k in range(start, stop, step))
    i = i + len(self) if i < 0 else i
    if not 0 <= i < len(self):
      raise IndexError(f"there are {len(self)} rows. Received: {i}")
    chunk = int(np.searchsorted(self._ends, i, side="right"))
    last = int(self._ends[chunk - 1]) if chunk else 0
    return self._chunks[chunk][int(i) - last].as_py()

  def __iter__(self) -> Iterator[str]:
    for chunk in self._chunks:
      for start in range(0, len(chunk), BATCH):
        yield from chunk.slice(start, BATCH).to_pylist()

  def __eq__(self, other):
    if not isinstance(other, Sequence) or isinstance(other, str):
      return NotImplemented
    return len(self) == len(other) and all(map(str.__eq__, self, other))

  # As Python does where __eq__ is defined.
  __hash__ = None  # pyright: ignore[reportAssignmentType]

  def __repr__(self):
    return f"Strings(rows={len(self)})"

  def _range(self, start, stop):
    last = 0
    for chunk, end in zip(self._chunks, self._ends.tolist()):
      if last < stop and end > start:
        first = max(start - last, 0)
        yield from chunk.slice(first, min(stop, end) - last - first).to_pylist()
      last = end


def write(path: str, parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
  """Writes columns, whole or not at all.

  Args:
    path: local or remote file.
    parts: parts of the columns, one after another: dicts from the same names to
      as many strings, or an int64 array, or a pyarrow array of them.

  Returns:
    dict with "bytes", the size of the file, and "sha256".

  Raises:
    ValueError: If there are no parts.
  """
  pyarrow = arrow()
  with tempfile.TemporaryDirectory() as folder:
    # Arrow writes to local files only; a local one is made where it stays.
    remote = files.is_remote(path)
    with files.replacing(path) as temporary:
      local = os.path.join(folder, "columns") if remote else temporary
      writer = None
      for part in parts:
        batch = pyarrow.table(
          {
            name: pyarrow.array(values)
            if isinstance(values, (list, tuple, np.ndarray))
            else values
            for name, values in part.items()
          }
        )
        if writer is None:
          writer = pyarrow.ipc.new_file(local, batch.schema)
        writer.write_table(batch, max_chunksize=BATCH)
      if writer is None:
        raise ValueError("`parts` must hold one at least. Received: none")
      writer.close()
      found = {"bytes": os.path.getsize(local), "sha256": _sha256(local)}
      if remote:
        from tensorflow.io import gfile

        gfile.copy(local, temporary, overwrite=True)
  return found


def read(path: str, expected: dict[str, Any]) -> dict[str, Any]:
  """Maps the columns of a file.

  Args:
    path: local or remote file; a remote one is copied to a temporary file that
      goes when the process ends.
    expected: what `write` returned.

  Returns:
    dict from each name to a pyarrow.ChunkedArray.

  Raises:
    ValueError: If the file is not what was
      written.
    OSError: If a local file cannot be read.
  """
  pyarrow = arrow()
  local = _local_copy(path) if files.is_remote(path) else path
  size = os.path.getsize(local)
  if size != expected["bytes"]:
    raise ValueError(f"it has {size} bytes, not {expected['bytes']}")
  if _sha256(local) != expected["sha256"]:
    raise ValueError("its content does not have its SHA-256")
  with pyarrow.memory_map(local) as file:
    table = pyarrow.ipc.open_file(file).read_all()
  return {name: table[name] for name in table.column_names}


def numbers(column: Any) -> np.ndarray:
  """A column of integers as an int64 array.

  Args:
    column: pyarrow column of integers.

  Returns:
    int64 array.
  """
  return column.to_numpy().astype(np.int64, copy=False)


def _sha256(path):
  # Read, not mapped: what is mapped counts as memory in use.
  found = hashlib.sha256()
  with open(path, "rb") as file:
    while part := file.read(1 << 22):
      found.update(part)
  return found.hexdigest()


def _local_copy(path):
  from tensorflow.io import gfile

  folder = tempfile.mkdtemp(prefix="tf_pcc-index-")
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  local = os.path.join(folder, "columns")
  gfile.copy(path, local)
  return local

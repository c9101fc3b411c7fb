"""The lines of the text files that describe corpora, checked as text."""

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator

from tf_pcc import files

# How much of a damaged line is shown on either side of the damage, in bytes.
_SHOWN = 20
# A compressed file may hold so many times its own size: text is up to 30 times
# as large, what is made to fill the memory 1,000 times. Small ones may anyway.
_RATIO, _SMALL = 200, 2**24
# The longest line, in bytes: JSON arrays of millions of objects are one.
_LONGEST = 2**28
_BUFFER = 2**20


def read_lines(path: str | os.PathLike) -> Iterator[str]:
  """Yields the lines of a UTF-8 text file, ends of line included.

  A byte order mark is dropped; a file named .gz is decompressed.

  Args:
    path: Local file.

  Yields:
    str.

  Raises:
    ValueError: If the file cannot be read, is no regular file or UTF-16, or a
      line is not UTF-8 or holds a NUL character; the line is named.
  """
  path = os.fspath(path)
  files.require_regular(path)
  try:
    with _opened(path) as file:
      if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(
          "Text must be UTF-8: save it as UTF-8. Received: UTF-16 (by its "
          f"byte order mark), path={path}"
        )
    # Surrogates keep the bytes that are not UTF-8, so that a line can be named.
    with io.TextIOWrapper(
      _opened(path), encoding="utf-8-sig", errors="surrogateescape"
    ) as file:
      for number, line in enumerate(file, 1):
        _check(line, f"Line {number} of {path}")
        yield line
  except (OSError, EOFError, zlib.error) as error:
    raise ValueError(
      f"`path` must be a readable file: {error}. Received: path={path}"
    ) from error


def _opened(path):
  """The file's bytes, those of a .gz file decompressed."""
  size = os.path.getsize(path)
  if path.lower().endswith(".gz"):
    file = gzip.open(path)  # noqa: SIM115
    most = max(_SMALL, _RATIO * size)
  else:
    file, most = open(path, "rb", buffering=0), math.inf  # noqa: SIM115
  return io.BufferedReader(_Limited(file, path, most), _BUFFER)


class _Limited(io.RawIOBase):
  """A file that is read up to a limit, of all of it and of a line."""

  def __init__(self, file, path, most):
    self._file, self._path, self._most = file, path, most
    self._read = self._line = 0

  def readable(self):
    return True

  def readinto(self, buffer):
    data = self._file.read(len(buffer))
    self._read += len(data)
    if self._read > self._most:
      raise ValueError(
        f"`path` must hold at most {_RATIO} times its own size when it is "
        "decompressed: decompress it, and look at what is in it. Received: "
        f"path={self._path}, more than {self._most} bytes"
      )
    end = data.rfind(b"\n")
    self._line = len(data) - end - 1 + (self._line if end < 0 else 0)
    if self._line > _LONGEST:
      raise ValueError(
        "`path` must be text whose lines are shorter than "
        f"{_LONGEST:,} bytes. Received: path={self._path}"
      )
    buffer[: len(data)] = data
    return len(data)

  def close(self):
    self._file.close()
    super().close()


def _check(line, where):
  if line.isascii() and "\0" not in line:
    return
  data = line.encode(errors="surrogateescape")
  try:
    data.decode()
  except UnicodeDecodeError as error:
    near = data[max(error.start - _SHOWN, 0) : error.end + _SHOWN]
    raise ValueError(
      f"{where} must be UTF-8: save the file as UTF-8. Received: line={near!r}"
    ) from error
  place = data.find(b"\0")
  if place >= 0:
    near = data[max(place - _SHOWN, 0) : place + _SHOWN]
    raise ValueError(
      f"{where} must hold no NUL character: save the file as UTF-8 if it is "
      f"UTF-16, else repair the line. Received: line={near!r}"
    )

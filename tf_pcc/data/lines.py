"""The lines of the text files that describe corpora, checked as text."""

import gzip
import os
import zlib
from collections.abc import Iterator

from tf_pcc import files

# How much of a damaged line is shown on either side of the damage, in bytes.
_SHOWN = 20


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
  opening = gzip.open if path.lower().endswith(".gz") else open
  try:
    with opening(path, "rb") as file:
      if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(
          "Text must be UTF-8: save it as UTF-8. Received: UTF-16 (by its "
          f"byte order mark), path={path}"
        )
    # Surrogates keep the bytes that are not UTF-8, so that a line can be named.
    with opening(
      path, "rt", encoding="utf-8-sig", errors="surrogateescape"
    ) as file:
      for number, line in enumerate(file, 1):
        _check(line, f"Line {number} of {path}")
        yield line
  except (OSError, EOFError, zlib.error) as error:
    raise ValueError(
      f"`path` must be a readable file: {error}. Received: path={path}"
    ) from error


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

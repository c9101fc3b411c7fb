"""LJSpeech: metadata.csv with lines `ID|TEXT|NORMALISED TEXT`, and wavs/.

Nothing is quoted. The last field is the transcript, unless it is empty. `ID`
may have the file's extension, or be a path.
"""

import os
from collections.abc import Iterator

from tf_pcc.data import formats, manifests
from tf_pcc.data.lines import read_lines

_FOLDER = "wavs"


def is_metadata(path: str | os.PathLike) -> bool:
  """Whether a file has the form of LJSpeech's metadata.csv.

  Args:
    path: A local text file.

  Returns:
    bool.
  """
  first = next((line for line in read_lines(path) if line.strip()), "")
  names = first.lower().split("|")
  return 2 <= len(names) <= 3 and "," not in names[0] and "\t" not in names[0]


def read_rows(path: str | os.PathLike) -> Iterator[manifests.Row]:
  """The rows of a metadata.csv.

  Args:
    path: Local file.

  Yields:
    `manifests.Row`.

  Raises:
    ValueError: If a line has another number of fields, or no id.
  """
  folder = os.path.dirname(path)
  for number, line in enumerate(read_lines(path), 1):
    if not line.strip():
      continue
    where = f"Line {number} of {path}"
    key, *texts = (field.strip() for field in line.rstrip("\n").split("|"))
    if not 1 <= len(texts) <= 2 or not key:
      raise ValueError(
        f"{where} must have two or three fields, ID|TEXT|NORMALISED TEXT. "
        f"Received: {line.strip()[:200]}"
      )
    stem, extension = os.path.splitext(key)
    known = extension.lower() in formats.EXTENSIONS
    written = key if known else _written(folder, key)
    text = next(filter(None, reversed(texts)), "")
    yield manifests.Row(where, written, text, id=stem if known else key)


def _written(folder, key):
  """The path of an id without an extension: the first format that is there."""
  for kind in ("wav", "flac", "ogg", "mp3"):
    for place in (os.path.join(folder, _FOLDER), folder):
      if os.path.lexists(os.path.join(place, f"{key}.{kind}")):
        return f"{key}.{kind}"
  return f"{key}.wav"

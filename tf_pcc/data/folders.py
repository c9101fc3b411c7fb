"""Folders of recordings with transcripts in files beside them.

| transcripts | what a file holds |
|---|---|
| `*.trans.txt` | lines `ID TEXT`; `ID.flac` (.mp3, .wav, .ogg) is anywhere |
| `NAME.txt`, `NAME.normalized.txt`, `NAME.lab` | the transcript of `NAME.wav` |

Hidden files, whose names begin with a dot (.DS_Store, ._x.flac), and hidden
folders are passed over. Of one name in several formats in a folder the first of
.flac, .wav, .ogg and .mp3 is taken. An id may be written in another case, or
another Unicode normalisation, than its file.
"""

import collections
import os
from collections.abc import Iterator

from absl import logging

from tf_pcc.data import formats
from tf_pcc.data.lines import read_lines
from tf_pcc.data.manifests import Reading, Row
from tf_pcc.data.paths import Finder, same, shown

_EXTENSIONS = formats.EXTENSIONS
_BESIDE = (".normalized.txt", ".txt", ".lab")
_NO_TRANSCRIPTS = (
  "readme",
  "license",
  "licence",
  "copying",
  "changelog",
  "origin",
  "speakers",
  "chapters",
  "books",
)


def read_rows(root: str | os.PathLike, reading: Reading) -> list[Row]:
  """The rows of a folder of recordings; the module says of what kinds.

  Args:
    root: Local folder.
    reading: A `manifests.Reading`.

  Returns:
    List of `manifests.Row`, their recordings found.

  Raises:
    ValueError: If a file or folder cannot be read.
  """
  finder = Finder([root], reading.allow_outside)
  texts, recordings, beside, refused = [], {}, {}, {}
  for folder, names in walk(root, finder):
    for name in names:
      path = os.path.join(folder, name)
      stem, extension = os.path.splitext(path)
      if name.endswith(".trans.txt"):
        texts.extend(_trans_lines(path))
      elif extension.lower() in _EXTENSIONS:
        recordings.setdefault(stem, []).append(path)
        refused[path] = _not_utf_8(name) or finder.refusal(path)
      elif found := next(filter(name.endswith, _BESIDE), None):
        beside.setdefault(path.removesuffix(found), {})[found] = path
  chosen = {stem: _best(paths) for stem, paths in recordings.items()}
  again = sum(map(len, recordings.values())) - len(chosen)
  if again:
    logging.info("%s: %d recordings in a second format", root, again)
  rows = list(_rows_by_id(texts, chosen.values()))
  used = {row.path for row in rows}
  if not texts:
    rows += _rows_beside(root, chosen, beside)
    used = {row.path for row in rows}
  for path in chosen.values():
    if path not in used:
      rows.append(Row(path, path, None, id=shown(_stem(path))))
  return [
    row if not refused.get(row.path) else _refuse(row, refused[row.path])
    for row in rows
  ]


def walk(
  root: str | os.PathLike, finder: Finder
) -> Iterator[tuple[str, list[str]]]:
  """Yields the folders below a folder, each with its files, in order.

  Args:
    root: Local folder. Links are followed, but for loops.
    finder: A `Finder` of it: folders that it refuses are passed over.

  Yields:
    (path of the folder, sorted names of its files), nothing hidden.

  Raises:
    ValueError: If a folder cannot be read.
  """

  def refuse(error):
    raise ValueError(
      f"`path` must be a folder that can be read: {error}. "
      f"Received: path={root}"
    ) from error

  seen = {os.path.realpath(root)}
  for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
    entered = []
    for name in sorted(folders):
      path = os.path.join(folder, name)
      if name.startswith("."):
        continue
      if os.path.islink(path):
        real = os.path.realpath(path)
        if real in seen or (os.path.realpath(folder) + "/").startswith(
          real + "/"
        ):
          logging.warning("passed over a link in a loop: %s", shown(path))
          continue
        if finder.refusal(path).startswith("it leads out"):
          logging.warning(
            "passed over %s: %s", shown(path), finder.refusal(path)
          )
          continue
        seen.add(real)
      entered.append(name)
    folders[:] = entered
    yield folder, sorted(name for name in names if not name.startswith("."))


def _rows_by_id(texts, paths):
  """The rows of transcripts that name their recordings by ids."""
  exact, folded = {}, collections.defaultdict(list)
  for path in paths:
    exact.setdefault(_stem(path), []).append(path)
    folded[same(_stem(path))].append(path)
  for key, text, where in texts:
    speaker = key.split("-")[0] if "-" in key else ""
    found = exact.get(key, [])
    if not found and len(folded[same(key)]) == 1:
      found = folded[same(key)]
    for path in found:
      yield Row(where, path, text, key, speaker)
    if not found:
      reason = "no recording has this name"
      yield Row(where, "", text, key, speaker, refused=reason)


def _rows_beside(root, recordings, beside):
  """The rows of recordings that have their transcripts beside them."""
  names = collections.Counter(map(_name, recordings))
  paired = {os.path.dirname(stem) for stem in recordings.keys() & beside.keys()}
  for stem, files in sorted(beside.items()):
    path = recordings.get(stem, "")
    lost = os.path.dirname(stem) in paired and not _name(
      stem
    ).lower().startswith(_NO_TRANSCRIPTS)
    if not path and not lost:
      continue
    source = next(files[name] for name in _BESIDE if name in files)
    # Equal names in several folders are told apart by their folders.
    key = _name(stem) if names[_name(stem)] < 2 else os.path.relpath(stem, root)
    text = " ".join("".join(read_lines(source)).split())
    reason = "" if path else "no recording has this name"
    yield Row(source, path, text, shown(key), refused=reason)


def _trans_lines(path):
  for number, line in enumerate(read_lines(path), 1):
    if line.strip():
      key, *text = line.split(maxsplit=1)
      yield key, "".join(text), f"Line {number} of {path}"


def _best(paths):
  def rank(path):
    return _EXTENSIONS.index(os.path.splitext(path)[1].lower())

  return min(paths, key=rank)


def _not_utf_8(name):
  try:
    name.encode()
    return ""
  except UnicodeEncodeError:
    return "its file name is not UTF-8: rename it"


def _refuse(row, reason):
  return Row(row.where, "", row.text, row.id, row.speaker, refused=reason)


def _stem(path):
  return os.path.splitext(os.path.basename(path))[0]


_name = os.path.basename

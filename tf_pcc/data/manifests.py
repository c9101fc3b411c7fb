"""Rows that describe utterances, checked, and the corpus they make."""

import collections
import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import logging

from tf_pcc.data.normalizers import Dropped, upper
from tf_pcc.data.paths import Finder, shown
from tf_pcc.data.segments import WHOLE, Segment
from tf_pcc.data.utterances import Corpus, Skip, Utterance

_SHOWN = 5
# What others call the ends of a part of a file; in which unit is not known.
_TIMES = ("start", "end", "stop", "begin", "start_time", "end_time")


@dataclasses.dataclass(frozen=True)
class Row:
  """What a corpus says of one utterance.

  Attributes:
    where: Place in the manifest, for messages.
    path: Audio file as it is written there, or "".
    text: Transcript, not normalised; None where there is none.
    id: Name, or "" for one made from the path.
    speaker: Name of the speaker, or "".
    seconds: Length that is stated, or None.
    segment: The part of the file that it is, a `Segment`. Default: all of it.
    refused: Why its recording cannot be used, where that is known already.
  """

  where: str
  path: str
  text: str | None
  id: str = ""
  speaker: str = ""
  seconds: float | None = None
  segment: Segment = WHOLE
  refused: str = ""


@dataclasses.dataclass(frozen=True)
class Reading:
  """How a corpus is read; see `tf_pcc.data.corpora.read_corpus`.

  Attributes:
    normalize: Function of a transcript; see `tf_pcc.data.normalizers`. Default:
      `upper`.
    allow_outside: Whether links and `..` may lead out of the corpus's folder.
    keep_empty: Whether utterances with an empty transcript are kept.
  """

  normalize: Callable[[str], str] = upper
  allow_outside: bool = False
  keep_empty: bool = False


def warn_of_times(where: str, fields: Iterable[str]) -> None:
  """Warns of fields that may say which part of a file an utterance is.

  Args:
    where: the manifest, or a place in it.
    fields: names of the fields there.
  """
  fields = set(fields)
  unread = [name for name in _TIMES if name in fields]
  if unread and "offset" not in fields:
    logging.warning(
      "%s has %s, which are not read: every utterance is taken to be its whole "
      "file. If it is a part of it, say which in seconds with offset and "
      "duration.",
      where,
      " and ".join(unread),
    )


def corpus_of_rows(
  root: str | os.PathLike,
  rows: Iterable[Row],
  reading: Reading,
  folders: Sequence[str] = (),
) -> Corpus:
  """The corpus that rows describe.

  Args:
    root: Where the rows were read from.
    rows: Iterable of `Row`.
    reading: A `Reading`.
    folders: Folders that the paths may be relative to, the first one first.
      Default: the paths are of files that were found.

  Returns:
    A `Corpus`; every row is one of its utterances or of its skips.

  Raises:
    ValueError: If an id occurs twice.
  """
  rows = list(rows)
  finder = Finder(folders or [], reading.allow_outside)
  utterances, skips, dropped = [], [], Dropped()
  keys = list(_ids(rows))
  for key, row in zip(keys, rows):
    path, reason = row.path, row.refused
    if folders and not reason:
      path, reason = finder.find(row.path)
    if reason:
      skips.append(Skip(key, reason, "audio"))
      continue
    text = None if row.text is None else reading.normalize(row.text)
    if not text and (text is None or not reading.keep_empty):
      skips.append(Skip(key, _lacking(row.text), "text"))
      continue
    dropped.add(key, row.text or "", text)
    speaker, stated = row.speaker, row.seconds
    utterances.append(Utterance(key, path, text, speaker, stated, row.segment))
  _check_unique(root, keys, rows)
  return Corpus(
    name=os.path.basename(os.path.normpath(root)),
    root=os.fspath(root),
    utterances=tuple(sorted(utterances, key=lambda item: item.id)),
    skips=tuple(sorted(skips, key=lambda item: item.id)),
    dropped=dropped,
  )


def _check_unique(root, keys, rows):
  counts = collections.Counter(keys)
  repeated = sorted(key for key, count in counts.items() if count > 1)
  if not repeated:
    return
  places = [row.where for key, row in zip(keys, rows) if key == repeated[0]]
  raise ValueError(
    f"Utterance ids must be unique in {root}: take out what is there twice, or "
    "give each an id of its own (without one it is made of the path and the "
    f"part of the file). Received: repeated={repeated[:_SHOWN]}, the first at "
    f"{places[0]} and {places[1]}"
  )


def _lacking(text):
  if text is None:
    return "no transcript"
  if not text.strip():
    return "an empty transcript"
  return f"nothing is left of the transcript {shown(text)!r}"


def _ids(rows):
  """The id of each row: its own, or one of its path and, if need be, segment.

  The path goes without its extension, unless that is all by which two differ.
  The segment is added where it does not begin with the file, or where several
  rows have the path.
  """
  kinds = collections.defaultdict(set)
  for row in rows:
    if not row.id:
      stem, extension = os.path.splitext(row.path)
      kinds[stem].add(extension)
  stems = []
  for row in rows:
    stem = os.path.splitext(row.path)[0]
    stems.append(stem if len(kinds[stem]) == 1 else row.path)
  counts = collections.Counter(s for s, row in zip(stems, rows) if not row.id)
  for stem, row in zip(stems, rows):
    part = row.segment
    if row.id or (counts[stem] == 1 and not part.start) or part == WHOLE:
      yield row.id or stem
      continue
    end = "end" if part.seconds is None else f"{part.seconds:.3f}"
    channels = "".join(f"-channel{channel}" for channel in part.channels)
    yield f"{stem}-{part.start:.3f}-{end}{channels}"


def string(where: str, field: str, value: Any, empty: bool = False) -> str:
  """Checks that a field is a string that a record can hold.

  Args:
    where: Place in the manifest.
    field: Name of the field.
    value: Its value.
    empty: Whether it may be empty. Default False.

  Returns:
    `value`.

  Raises:
    ValueError: If it is no string, is empty, or holds a NUL character or half
      of a surrogate pair.
  """
  if not isinstance(value, str) or not (value or empty):
    kind = "a string" if empty else "a string that is not empty"
    raise ValueError(
      f"{where}: `{field}` must be {kind}. Received: {field}={value!r}"
    )
  if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
    raise ValueError(
      f"{where}: `{field}` must hold no NUL character and no half of a "
      f"surrogate pair: repair the line. Received: {field}={value[:80]!r}"
    )
  return value


def seconds(where: str, field: str, value: Any) -> float | None:
  """Checks that a field is a number of seconds, or None; 0 is None as well.

  Args:
    where: Place in the manifest.
    field: Name of the field.
    value: Its value: a number, a string that says one, or None.

  Returns:
    float or None.

  Raises:
    ValueError: If it is anything else, negative or not finite.
  """
  if value is None:
    return None
  try:
    number = math.nan if isinstance(value, bool) else float(value)
  except (ValueError, TypeError, OverflowError):
    number = math.nan
  if not 0 <= number < math.inf:
    raise ValueError(
      f"{where}: `{field}` must be a finite number of seconds, 0 or more. "
      f"Received: {field}={value!r}"
    )
  return number or None

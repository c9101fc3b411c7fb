"""Rows that describe utterances, checked, and the corpus they make."""

import collections
import dataclasses
import math
import os

from tf_pcc.data.segments import WHOLE, Segment
from tf_pcc.data.text import normalize
from tf_pcc.data.utterances import Corpus, Utterance

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Row:
  """What a manifest says of one utterance.

  Attributes:
    where: Place in the manifest, for messages.
    path: Audio file as it is written there.
    text: Transcript, not normalised.
    id: Name, or "" for one made from the path.
    speaker: Name of the speaker, or "".
    seconds: Length that is stated, or None.
    segment: The part of the file that it is, a `Segment`. Default: all of it.
  """

  where: str
  path: str
  text: str
  id: str = ""
  speaker: str = ""
  seconds: float | None = None
  segment: Segment = WHOLE


def corpus_of_rows(root, rows, folders):
  """The corpus that rows describe.

  Args:
    root: Where the rows were read from.
    rows: Iterable of `Row`.
    folders: Folders that the paths may be relative to, the first one first.

  Returns:
    A `Corpus`.

  Raises:
    ValueError: If an id occurs twice.
  """
  rows = list(rows)
  utterances, looked_for = [], {}
  for key, row in zip(_ids(rows), rows):
    places = [os.path.join(folder, row.path) for folder in folders]
    # A broken link is there: reading it says that it is broken.
    found = next(filter(os.path.lexists, places), "")
    if not found:
      looked_for[key] = " or ".join(dict.fromkeys(places))
    utterances.append(
      Utterance(
        key,
        found,
        normalize(row.text),
        speaker=row.speaker,
        seconds=row.seconds,
        segment=row.segment,
      )
    )
  return corpus_of(root, utterances, looked_for)


def _ids(rows):
  """The id of each row: its own, or one of its path and, if need be, segment.

  The path goes without its extension. The segment is added where it does not
  begin with the file, or where several rows have the path.
  """
  stems = [os.path.splitext(row.path)[0] for row in rows]
  counts = collections.Counter(s for s, row in zip(stems, rows) if not row.id)
  for stem, row in zip(stems, rows):
    part = row.segment
    if row.id or (counts[stem] == 1 and not part.start) or part == WHOLE:
      yield row.id or stem
      continue
    end = "end" if part.seconds is None else f"{part.seconds:.3f}"
    channels = "".join(f"-channel{channel}" for channel in part.channels)
    yield f"{stem}-{part.start:.3f}-{end}{channels}"


def corpus_of(root, utterances, looked_for=None):
  """The corpus of the utterances that have both a text and a recording.

  Args:
    root: Where they were read from.
    utterances: Iterable of `Utterance`; its path is "" where the recording is
      missing, its text where the transcript is.
    looked_for: Dict from an id without a recording to the paths at which it was
      looked for. Default: not known.

  Returns:
    A `Corpus`.

  Raises:
    ValueError: If an id occurs twice.
  """
  utterances = sorted(utterances, key=lambda utterance: utterance.id)
  counts = collections.Counter(utterance.id for utterance in utterances)
  repeated = [key for key, count in counts.items() if count > 1]
  if repeated:
    raise ValueError(
      f"Utterance ids must be unique in {root}. "
      f"Received: repeated={repeated[:_SHOWN]}"
    )
  missing_audio = [u.id for u in utterances if not u.path]
  return Corpus(
    name=os.path.basename(os.path.normpath(root)),
    root=root,
    utterances=tuple(u for u in utterances if u.path and u.text),
    missing_audio=tuple(missing_audio),
    missing_text=tuple(u.id for u in utterances if u.path and not u.text),
    looked_for=tuple((looked_for or {}).get(key, "") for key in missing_audio),
  )


def string(where, field, value, empty=False):
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


def seconds(where, field, value):
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

"""NeMo manifests: a JSON object a line, or one JSON array of objects.

| field | what it says |
|---|---|
| audio_filepath | the file |
| text | the transcript |
| offset | where in the file the utterance begins, in seconds; default 0 |
| duration | how long it lasts from there; without it, or 0: to the end |
| channel_selector | a channel from 0, a list to average, or "average" of all |
| id, speaker | names; an id is otherwise made of path, offset and duration |
"""

import json

from tf_pcc.data import manifests
from tf_pcc.data.lines import read_lines
from tf_pcc.data.segments import Segment

EXTENSIONS = (".json", ".jsonl", ".manifest")


def read_rows(path):
  """The rows of a NeMo manifest.

  Args:
    path: Local file.

  Yields:
    `manifests.Row`.

  Raises:
    ValueError: If a line is no object with audio_filepath and text, or a field
      cannot be used; the line, or the item of the array, is named.
  """
  lines = list(read_lines(path))
  content = "".join(lines)
  if content.lstrip().startswith("["):
    items = _parse(content, path, "a JSON array of objects")
    for number, item in enumerate(items, 1):
      yield _row(item, f"Item {number} of {path}")
    return
  for number, line in enumerate(lines, 1):
    if line.strip():
      where = f"Line {number} of {path}"
      yield _row(_parse(line, where, "a JSON object"), where)


def _parse(content, where, what):
  try:
    return json.loads(content)
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f"{where} must be {what} ({error!r}). Received: {content.strip()[:80]}"
    ) from error


def _row(row, where):
  if not isinstance(row, dict) or not {"audio_filepath", "text"} <= row.keys():
    raise ValueError(
      f"{where} must be a JSON object with audio_filepath and text. "
      f"Received: {str(row)[:80]}"
    )
  speaker = "" if row.get("speaker") is None else _name(row["speaker"])
  duration = manifests.seconds(where, "duration", row.get("duration"))
  offset = manifests.seconds(where, "offset", row.get("offset"))
  channels = _channels(where, row.get("channel_selector"))
  return manifests.Row(
    where,
    manifests.string(where, "audio_filepath", row["audio_filepath"]),
    manifests.string(where, "text", row["text"], empty=True),
    id=manifests.string(where, "id", _name(row["id"])) if "id" in row else "",
    speaker=manifests.string(where, "speaker", speaker, empty=True),
    seconds=duration,
    segment=Segment(offset or 0.0, duration, channels),
  )


def _name(value):
  """Corpora number their speakers and utterances too."""
  return str(value) if type(value) is int else value


def _channels(where, selector):
  if selector is None or selector == "average":
    return ()
  channels = selector if isinstance(selector, list) else [selector]
  if not channels or any(type(c) is not int or c < 0 for c in channels):
    raise ValueError(
      f"{where}: `channel_selector` must be a channel from 0, a list of "
      f'channels or "average". Received: channel_selector={selector!r}'
    )
  return tuple(channels)

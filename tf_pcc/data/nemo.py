"""NeMo manifests: a JSON object a line, or one JSON array of objects.

| field | what it says |
|---|---|
| audio_filepath | the file; Hugging Face's folders call it `file_name` |
| text | the transcript |
| offset | where in the file the utterance begins, in seconds; default 0 |
| duration | how long it lasts from there; without it, or 0: to the end |
| channel_selector | a channel from 0, a list to average, or "average" of all |
| id, speaker | names; an id is otherwise made of path, offset and duration |

Not read: several files that are the channels of one utterance, and files in tar
archives; such rows are skipped with that reason.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from tf_pcc.data import manifests
from tf_pcc.data.segments import Segment


def rows(objects: Iterable[tuple[Any, str]]) -> Iterator[manifests.Row]:
  """The rows of a NeMo manifest.

  Args:
    objects: Iterable of (object, where it stands).

  Yields:
    `manifests.Row`.

  Raises:
    ValueError: If one is no object with audio_filepath and text, or a field
      cannot be used; the line, or the item of the array, is named.
  """
  for number, (item, where) in enumerate(objects):
    row = _row(item, where)
    if not number:
      manifests.warn_of_times(where, item)
    yield row


def _row(row, where):
  if isinstance(row, dict) and "file_name" in row:
    row = {"audio_filepath": row["file_name"], **row}
  if not isinstance(row, dict) or not {"audio_filepath", "text"} <= row.keys():
    raise ValueError(
      f"{where} must be a JSON object with audio_filepath and text. "
      f"Received: {str(row)[:80]}"
    )
  path, refused = _path(where, row)
  speaker = "" if row.get("speaker") is None else _name(row["speaker"])
  duration = manifests.seconds(where, "duration", row.get("duration"))
  offset = manifests.seconds(where, "offset", row.get("offset"))
  channels = _channels(where, row.get("channel_selector"))
  return manifests.Row(
    where,
    path,
    manifests.string(where, "text", row["text"], empty=True),
    id=manifests.string(where, "id", _name(row["id"])) if "id" in row else "",
    speaker=manifests.string(where, "speaker", speaker, empty=True),
    seconds=duration,
    segment=Segment(offset or 0.0, duration, channels),
    refused=refused,
  )


def _path(where, row):
  """The path of a row's file, and why it is not read, or ""."""
  paths = row["audio_filepath"]
  if isinstance(paths, list) and paths:
    paths = [manifests.string(where, "audio_filepath", path) for path in paths]
    if len(paths) > 1:
      return "+".join(paths), (
        f"{len(paths)} files that are the channels of one utterance are not "
        "read: mix them into one"
      )
    (paths,) = paths
  path = manifests.string(where, "audio_filepath", paths)
  if "shard_id" in row:
    return path, "files in tar archives are not read: unpack them"
  return path, ""


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

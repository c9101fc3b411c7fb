"""lhotse CutSets: a JSON object a line, .jsonl or .jsonl.gz.

A MonoCut or MultiCut of a recording in one file is an utterance: its part of
the recording, its channels, the texts of its supervisions in the order of time.
The others (mixed cuts, transformed recordings, sound in archives, in memory or
behind commands, which are never run) are skipped with the reason.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from tf_pcc.data import manifests
from tf_pcc.data.segments import Segment

_CUTS = ("MonoCut", "MultiCut", "Cut", "MixedCut", "PaddingCut")


def is_cut(item: Any) -> bool:
  """Whether a JSON value is a cut of Lhotse.

  Args:
    item: Value of a line.

  Returns:
    bool.
  """
  return isinstance(item, dict) and (
    item.get("type") in _CUTS or {"recording", "supervisions"} <= item.keys()
  )


def rows(objects: Iterable[tuple[Any, str]]) -> Iterator[manifests.Row]:
  """The rows of a CutSet.

  Args:
    objects: Iterable of (object, where it stands).

  Yields:
    `manifests.Row`.

  Raises:
    ValueError: If one is no cut, or a field cannot be used; the line is named.
  """
  for item, where in objects:
    if not is_cut(item) or not isinstance(item.get("id"), str):
      raise ValueError(
        f"{where} must be a cut with an id. Received: {str(item)[:80]}"
      )
    try:
      row = _row(item, where)
    except (LookupError, TypeError, AttributeError) as error:
      raise ValueError(
        f"{where} must be a cut as lhotse writes it ({error!r}). Received: "
        f"{str(item)[:80]}"
      ) from error
    yield row


def _row(cut, where):
  supervisions = sorted(
    cut.get("supervisions") or [], key=lambda found: found["start"]
  )
  texts = [found["text"] for found in supervisions if found.get("text")]
  speakers = {found.get("speaker") or "" for found in supervisions}
  path, refused, channels = "", "", ()
  recording = cut.get("recording")
  if cut.get("type") in ("MixedCut", "PaddingCut"):
    refused = f"a {cut['type']} is not read: save its sound and cut that"
  elif not recording:
    refused = "a cut without a recording has no sound"
  else:
    path, refused = _source(recording)
    channels = _channels(cut, recording)
  duration = manifests.seconds(where, "duration", cut.get("duration"))
  start = manifests.seconds(where, "start", cut.get("start"))
  return manifests.Row(
    where,
    path,
    manifests.string(where, "text", " ".join(texts), empty=True),
    id=manifests.string(where, "id", cut["id"]),
    speaker=speakers.pop() if len(speakers) == 1 else "",
    seconds=duration,
    segment=Segment(start or 0.0, duration, channels),
    refused=refused,
  )


def _source(recording):
  """The path of a recording's file, and why it is not read, or ""."""
  if recording.get("transforms"):
    return "", "a transformed recording is not read: save its sound"
  sources = recording["sources"]
  if len(sources) != 1:
    return "", f"a recording of {len(sources)} files is not read: mix them"
  kind, path = sources[0]["type"], sources[0]["source"]
  if kind == "command":
    return "", "a command is never run: write its sound to a file"
  if kind == "url":
    return "", f"a URL is not fetched, download it: {path[:200]}"
  if kind != "file":
    return "", f"sound in {kind} is not read: write it to a file"
  return path, ""


def _channels(cut, recording):
  """The channels of a cut; () where they are all of its recording."""
  chosen = cut.get("channel")
  if chosen is None:
    return ()
  chosen = chosen if isinstance(chosen, list) else [chosen]
  there = recording.get("channel_ids") or recording["sources"][0]["channels"]
  if list(chosen) == list(there):
    return ()
  return tuple(list(there).index(channel) for channel in chosen)

"""Kaldi data directories.

| file | a line of it |
|---|---|
| wav.scp | RECORDING PATH |
| text | UTTERANCE TRANSCRIPT |
| utt2spk, if there | UTTERANCE SPEAKER |
| segments, if there | UTTERANCE RECORDING BEGIN END, seconds; END -1: all |
| reco2file_and_channel, if there | RECORDING FILE CHANNEL, which is A or B |

Without segments an utterance is the recording of its name. A wav.scp entry that
is a command (it ends with `|`) or a place in an archive is skipped with that
reason: commands are never run. So is a segment that ends where it begins, or
before. Names are composed (Unicode NFC), so that files of macOS and of Linux
name the same recordings.
"""

import math
import os
import re
import unicodedata
from collections.abc import Iterator

from tf_pcc.data import manifests
from tf_pcc.data.lines import read_lines
from tf_pcc.data.segments import WHOLE, Segment

_CHANNELS = {"A": (0,), "B": (1,), "1": (0,), "2": (1,)}


def is_directory(path: str | os.PathLike) -> bool:
  """Whether a folder is a Kaldi data directory.

  Args:
    path: A local folder.

  Returns:
    bool: whether it holds wav.scp and text.
  """
  return all(
    os.path.isfile(os.path.join(path, name)) for name in ("wav.scp", "text")
  )


def read_rows(root: str | os.PathLike) -> Iterator[manifests.Row]:
  """The rows of a Kaldi data directory.

  Args:
    root: Local folder.

  Yields:
    `manifests.Row`: the utterances of `text`, then recordings without a line
    of it.

  Raises:
    ValueError: If a line of a file cannot be used; it is named.
  """
  sources = {key: (rest, where) for key, rest, where in _lines(root, "wav.scp")}
  speakers = dict(_speakers(root))
  channels = dict(_channels(root))
  segments = dict(_segments(root))
  whole = {key: (key, WHOLE, "") for key in sources}
  parts, lost = whole, ("", WHOLE, "")
  if os.path.exists(os.path.join(root, "segments")):
    parts, lost = segments, ("", WHOLE, "no line of segments has this name")
  named = set()
  for key, text, where in _lines(root, "text"):
    recording, part, reason = parts.get(key, lost)
    named.add(key)
    yield _row(
      where,
      key,
      text,
      recording or key,
      part,
      reason,
      sources,
      speakers,
      channels,
    )
  named |= {recording for recording, _, _ in segments.values()}
  for key, (recording, part, reason) in {**whole, **segments}.items():
    if key not in named:
      where = sources.get(recording, ("", root))[1]
      yield _row(
        where, key, None, recording, part, reason, sources, speakers, channels
      )


def _row(where, key, text, recording, part, reason, sources, speakers, channel):
  written = sources.get(recording, ("", ""))[0]
  if not reason and recording not in sources:
    reason = f"no line of wav.scp has its recording, {recording}"
  elif not reason:
    reason = _refusal(written)
  if recording in channel:
    part = Segment(part.start, part.seconds, channel[recording])
  # The length is the segment's, which is checked where it is read.
  return manifests.Row(
    where,
    written,
    text,
    id=key,
    speaker=speakers.get(key, ""),
    segment=part,
    refused=reason,
  )


def _refusal(written):
  if written.endswith("|") or written.startswith("|"):
    return f"a command is never run, write its sound to a file: {written[:200]}"
  if re.search(r"\.ark(:\d+)?$", written):
    return f"archives are not read, write the sound to a file: {written[:200]}"
  return "" if written else "its line of wav.scp names no file"


def _lines(root, name):
  """(key, composed; the rest; where) of each line; each key once."""
  path = os.path.join(root, name)
  seen = set()
  if not os.path.exists(path):
    return
  for number, line in enumerate(read_lines(path), 1):
    if not line.strip():
      continue
    where = f"Line {number} of {path}"
    key, *rest = line.split(maxsplit=1)
    key = unicodedata.normalize("NFC", key)
    if key in seen:
      raise ValueError(f"{where} must have a name of its own. Received: {key}")
    seen.add(key)
    yield key, "".join(rest).strip(), where


def _segments(root):
  """(utterance, (recording, part, why it is not read)) of each line."""
  for key, rest, where in _lines(root, "segments"):
    fields = rest.split()
    try:
      recording = unicodedata.normalize("NFC", fields[0])
      start, end = float(fields[1]), float(fields[2])
      channels = tuple(int(field) for field in fields[3:4])
      bad = not (start >= 0 and math.isfinite(start) and math.isfinite(end))
    except (ValueError, IndexError):
      recording, start, end, channels, bad = "", 0.0, 0.0, (), True
    if bad or len(fields) > 4 or any(channel < 0 for channel in channels):
      raise ValueError(
        f"{where} must be UTTERANCE RECORDING BEGIN END, in seconds from 0. "
        f"Received: {key} {rest[:200]}"
      )
    length = None if end == -1 else end - start
    reason = ""
    if length is not None and length <= 0:
      length = None
      reason = f"its segment ends where it begins or before: {rest[:200]}"
    yield key, (recording, Segment(start, length, channels), reason)


def _speakers(root):
  for key, rest, where in _lines(root, "utt2spk"):
    if len(rest.split()) != 1:
      raise ValueError(
        f"{where} must be UTTERANCE SPEAKER. Received: {key} {rest[:200]}"
      )
    yield key, rest


def _channels(root):
  for key, rest, where in _lines(root, "reco2file_and_channel"):
    channel = rest.split()[-1:]
    if not channel or channel[0] not in _CHANNELS:
      raise ValueError(
        f"{where} must end with a channel, A or B. Received: {rest[:200]}"
      )
    yield key, _CHANNELS[channel[0]]

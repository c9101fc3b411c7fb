"""NeMo manifests: a JSON object a line."""

import json

from tf_pcc.data import manifests
from tf_pcc.data.lines import read_lines

EXTENSIONS = (".json", ".jsonl", ".manifest")


def read_rows(path):
  """The rows of a NeMo manifest.

  Args:
    path: Local file. Each line has audio_filepath, text and perhaps duration,
      speaker and id.

  Yields:
    `manifests.Row`.

  Raises:
    ValueError: If a line is no such object; the line is named.
  """
  for number, line in enumerate(read_lines(path), 1):
    if line.strip():
      yield _row(line, f"Line {number} of {path}")


def _row(line, where):
  try:
    row = json.loads(line)
    recording, text = row["audio_filepath"], row["text"]
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise ValueError(
      f"{where} must be a JSON object with audio_filepath and text "
      f"({error!r}). Received: line={line.strip()[:80]}"
    ) from error
  speaker = "" if row.get("speaker") is None else _name(row["speaker"])
  return manifests.Row(
    where,
    manifests.string(where, "audio_filepath", recording),
    manifests.string(where, "text", text, empty=True),
    id=manifests.string(where, "id", _name(row["id"])) if "id" in row else "",
    speaker=manifests.string(where, "speaker", speaker, empty=True),
    seconds=manifests.seconds(where, "duration", row.get("duration")),
  )


def _name(value):
  """Corpora number their speakers and utterances too."""
  return str(value) if type(value) is int else value

"""Files of JSON objects: one a line, or one array of them."""

import collections
import json
import os
from collections.abc import Iterator
from typing import Any

from tf_pcc.data.lines import read_lines

# How many of the fields that are there twice are named.
_SHOWN = 5
EXTENSIONS = (".json", ".jsonl", ".manifest")


def read_objects(path: str | os.PathLike) -> Iterator[tuple[Any, str]]:
  """Yields the objects of a file.

  Args:
    path: Local file, perhaps compressed (.gz).

  Yields:
    (what was parsed, where it stands). Blank lines are passed over.

  Raises:
    ValueError: If something is not JSON, or an object has a field twice; the
      line is named.
  """
  lines = list(read_lines(path))
  content = "".join(lines)
  if content.lstrip().startswith("["):
    items = _parse(content, path, "a JSON array of objects")
    for number, item in enumerate(items, 1):
      yield item, f"Item {number} of {path}"
    return
  for number, line in enumerate(lines, 1):
    if line.strip():
      where = f"Line {number} of {path}"
      yield _parse(line, where, "a JSON object, whole in its line"), where


def _parse(content, where, what):
  try:
    return json.loads(content, object_pairs_hook=_object)
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f"{where} must be {what} ({error!r}). Received: {content.strip()[:80]}"
    ) from error


def _object(pairs):
  """A dict, but json lets the last one of two equal fields win."""
  found = dict(pairs)
  if len(found) < len(pairs):
    counts = collections.Counter(name for name, _ in pairs)
    twice = sorted(name for name, count in counts.items() if count > 1)
    raise ValueError(f"there more than once: {', '.join(twice[:_SHOWN])}")
  return found

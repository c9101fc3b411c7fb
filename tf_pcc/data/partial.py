"""A records directory while it is written: what an interrupted call leaves.

It is the directory's name with ".partial", holds `plan.json` with a hash of
what is written, a JSON file for each shard that is finished, and at last the
index. Then it is renamed.
"""

import dataclasses
import json
import os
from typing import Any

from absl import logging

from tf_pcc import files, publishing
from tf_pcc.data.index import COLUMNS_FILE, digest

# The files of records that are no shards.
_INDEX = ("index.json", COLUMNS_FILE)
_AGAIN = "remove the folder and prepare the corpus again"


@dataclasses.dataclass(frozen=True)
class _Skipped:
  id: str
  reason: str


@dataclasses.dataclass(frozen=True)
class _Part:
  """A shard's part of the index: what a call that goes on reads of it."""

  rows: list[tuple[str, str, str, int, int, int, int]]
  skipped: list[_Skipped]
  sha256: str
  checksum: str


def read_part(path: str) -> dict[str, Any]:
  """What an interrupted call has written of a finished shard.

  Args:
    path: Its JSON file.

  Returns:
    The shard's part of the index, a dict.

  Raises:
    ValueError: If the file is damaged.
  """
  part = files.read_json(path, _AGAIN, _Part)
  if part.pop("checksum") != digest(part):
    raise ValueError(
      f"{path}: its content does not have its checksum; {_AGAIN}"
    )
  return part


def publish(partial: str, output_dir: str) -> None:
  """Renames a partial directory that has its index.

  Args:
    partial: The directory.
    output_dir: Its final name.
  """
  from tensorflow.io import gfile

  for name in gfile.listdir(partial):
    # Also what a worker has left that was killed, or is still at it.
    if name not in _INDEX and not name.endswith(".tfrecord"):
      gfile.remove(f"{partial}/{name}")
  if files.is_remote(output_dir):
    publishing.publish(partial, output_dir, _INDEX[0])
    return
  gfile.rename(partial, output_dir)
  files.sync(os.path.dirname(os.path.abspath(output_dir)))


def resume(partial: str, output_dir: str) -> None:
  """Ends a `publish` that was interrupted, if there was one.

  Args:
    partial: The directory.
    output_dir: Its final name.
  """
  if files.is_remote(output_dir):
    publishing.resume(partial, output_dir, _INDEX[0])


def index_of(directory: str, plan: str) -> dict[str, Any] | None:
  """The index of a directory that was written by a plan.

  Args:
    directory: A records directory, partial or not.
    plan: Hash of what is written.

  Returns:
    The index, a dict; None where there is none, or one of another plan.
  """
  from tensorflow.io import gfile

  path = f"{directory}/index.json"
  found = files.read_json(path, _AGAIN) if gfile.exists(path) else None
  if not isinstance(found, dict) or found.pop("plan", None) != plan:
    return None
  found.pop("checksum", None)
  return found


def begin(partial: str, plan: str) -> None:
  """Makes a partial directory, or keeps one that was begun with the same plan.

  Args:
    partial: The directory.
    plan: Hash of what is written.
  """
  from tensorflow.io import gfile

  if gfile.exists(f"{partial}/plan.json"):
    if files.read_json(f"{partial}/plan.json", _AGAIN) == plan:
      if not files.is_remote(partial):
        files.sweep(partial)
      return
    logging.info("%s was begun with other settings: starting again", partial)
  if gfile.exists(partial):
    gfile.rmtree(partial)
  gfile.makedirs(partial)
  write_json(f"{partial}/plan.json", plan)


def write_json(path: str, value: Any) -> None:
  """Writes JSON on one line.

  Args:
    path: The file.
    value: What `json.dumps` takes.
  """
  files.write_text(path, json.dumps(value, ensure_ascii=False))

"""The index of a records directory: read once, believed only if it is right."""

import hashlib
import json
import os
from typing import Any

import numpy as np

from tf_pcc import files
from tf_pcc.data.shards import AFTER, BEFORE

FORMAT = 1
ENCODINGS = ("pcm16", "flac")
TEXTS = ("id", "text", "speaker")
NUMBERS = ("samples", "shard", "offset", "size")
COLUMNS = (*TEXTS, *NUMBERS)
_REMEDY = "restore a copy of it or prepare the corpus again"


def digest(value: Any) -> str:
  """SHA-256 of a JSON-serialisable value."""
  data = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
  return hashlib.sha256(data).hexdigest()


def shard_name(number: int, shards: int) -> str:
  """The file name of a shard."""
  return f"{number:05d}-of-{shards:05d}.tfrecord"


def sealed(index: dict) -> dict:
  """The index with its own checksum, which `read` compares.

  Args:
    index: JSON-serialisable.

  Returns:
    The same with "checksum", the SHA-256 of all the rest.
  """
  return {**index, "checksum": digest(index)}


def read(directory: str) -> tuple[dict, dict]:
  """Reads and checks the index of a records directory.

  Args:
    directory: local or anything tf.io.gfile reads.

  Returns:
    The index without its columns, and the columns: a dict from each of
    `COLUMNS` to a tuple of strings, or an int64 array, `[utterances]`.

  Raises:
    ValueError: `FILE: what is wrong; what to do`, if there is no index or it
      is not as it was written.
  """
  from tensorflow.io import gfile

  path = f"{directory}/index.json"
  if not gfile.exists(path):
    hint = ""
    if gfile.exists(directory + ".partial"):
      hint = " (preparing it was interrupted: run the same command again)"
    raise ValueError(
      f"`directory` must hold an index.json written by launch.prepare{hint}. "
      f"Received: directory={directory}"
    )
  index = files.read_json(path, "prepare the corpus again")
  if not isinstance(index, dict):
    raise wrong(path, "it is not a JSON object")
  if index.get("format") != FORMAT:
    raise ValueError(
      f"`directory` must hold records of format {FORMAT}. Received: "
      f"format={index.get('format')}, directory={directory}"
    )
  # Records written before there was a checksum have none.
  checksum = index.pop("checksum", None)
  if checksum is not None and checksum != digest(index):
    raise wrong(path, "its content does not have its checksum")
  _check_header(path, index)
  columns = index.pop("records", None)
  if not isinstance(columns, dict) or set(COLUMNS) - set(columns):
    raise wrong(path, f"its records must have the columns {COLUMNS}")
  result = {}
  for name in COLUMNS:
    values = columns[name]
    kind, dtype = (str, None) if name in TEXTS else (int, np.int64)
    if not isinstance(values, list) or not {kind}.issuperset(map(type, values)):
      raise wrong(path, f"column {name} is not a list of {kind.__name__}")
    try:
      result[name] = np.array(values, dtype) if dtype else tuple(values)
    except OverflowError as error:
      raise wrong(path, f"column {name} has a number too large") from error
  check_columns(path, index, result)
  check_files(path, index, result)
  return index, result


def wrong(path: str, what: str, remedy: str = _REMEDY) -> ValueError:
  """The error of a damaged file, in one sentence."""
  return ValueError(f"{path}: {what}; {remedy}")


def check_columns(path: str, index: dict, columns: dict) -> None:
  """Refuses columns that `tf_pcc.data.writing` cannot have written.

  Args:
    path: of the index, for the message.
    index: without its columns.
    columns: dict from each of `COLUMNS` to a sequence; those of `NUMBERS` are
      int64 arrays.

  Raises:
    ValueError: naming the column, and the utterance where it is one's.
  """
  count = index["utterances"]
  for name, found in zip(COLUMNS, (len(columns[name]) for name in COLUMNS)):
    if found != count:
      raise wrong(path, f"column {name} has {found} entries, not {count}")
  samples, shard, offset, size = (columns[name] for name in NUMBERS)

  def refuse(bad, what):
    if bad.any():
      i = int(bad.argmax())
      raise wrong(
        path,
        f"{what} (utterance {i}, {columns['id'][i]!r}: samples={samples[i]}, "
        f"shard={shard[i]}, offset={offset[i]}, size={size[i]})",
      )

  refuse(samples < 1, "a length must be positive")
  refuse(size < 1, "a record must have bytes")
  if index["encoding"] == "pcm16":
    # Division, because the product of a damaged length may overflow.
    refuse(samples > size // 2, "a record is too small for its length")
  if int(samples.sum()) != index["samples"]:
    raise wrong(
      path, f"the lengths add up to {samples.sum()}, not {index['samples']}"
    )
  refuse(
    (shard < 0) | (shard >= len(index["shards"])),
    f"a shard must be one of {len(index['shards'])}",
  )
  # Within a shard a record begins where the one before it ends.
  first = np.ones(count, bool)
  first[1:] = shard[1:] != shard[:-1]
  refuse(np.diff(shard, prepend=0) < 0, "the shards must be in order")
  expected = np.full(count, BEFORE)
  expected[1:] = offset[:-1] + size[:-1] + AFTER + BEFORE
  expected[first] = BEFORE
  refuse(offset != expected, "a record must begin where the last one ends")


def check_files(path: str, index: dict, columns: dict) -> None:
  """Refuses local shards that are missing or have another size.

  Args:
    path: of the index.
    index: without its columns.
    columns: as for `check_columns`, which they have passed.

  Raises:
    ValueError: naming the file.
  """
  directory = os.path.dirname(path)
  if files.is_remote(directory):
    return
  shard, offset, size = (columns[name] for name in NUMBERS[1:])
  shards = len(index["shards"])
  last = np.searchsorted(shard, np.arange(shards), side="right") - 1
  for number, i in enumerate(last):
    name = f"{directory}/{shard_name(number, shards)}"
    there = i >= 0 and shard[i] == number
    expected = int(offset[i] + size[i]) + AFTER if there else 0
    try:
      found = os.stat(name).st_size
    except OSError as error:
      raise wrong(name, f"it cannot be read ({error.strerror})") from error
    if found != expected:
      raise wrong(
        name, f"it has {found} bytes, {expected} by the index beside it"
      )


def _check_header(path, index):
  kinds = {
    "encoding": str,
    "sample_rate": int,
    "utterances": int,
    "samples": int,
    "sha256": str,
    "shards": list,
    "skipped": list,
  }
  for name, kind in kinds.items():
    if type(index.get(name)) is not kind:
      raise wrong(
        path, f"its field {name} must be {kind.__name__}: {index.get(name)!r}"
      )
  if index["encoding"] not in ENCODINGS or index["sample_rate"] < 1:
    raise wrong(
      path,
      f"encoding={index['encoding']!r} or sample_rate={index['sample_rate']} "
      "is out of range",
    )
  if not index["shards"] or {type(s) for s in index["shards"]} != {str}:
    raise wrong(path, "its field shards must be a list of SHA-256")

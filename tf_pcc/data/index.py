"""The index of a records directory: read once, believed only if it is right."""

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from absl import logging

from tf_pcc import files
from tf_pcc.data import columns as columns_
from tf_pcc.data.shards import AFTER, BEFORE

# The columns of large records are in an Arrow file beside index.json, mapped
# into memory; those of small ones are lists in it.
FORMAT, LARGE_FORMAT = 1, 2
LARGE = 100_000
COLUMNS_FILE = "index.arrow"
ENCODINGS = ("pcm16", "flac")
TEXTS = ("id", "text", "speaker")
NUMBERS = ("samples", "shard", "offset", "size")
COLUMNS = (*TEXTS, *NUMBERS)
_REMEDY = "restore a copy of it or prepare the corpus again"


def digest(value: Any) -> str:
  """A hash of a JSON-serialisable value.

  Args:
    value: What `json.dumps` takes; the order of keys does not matter.

  Returns:
    SHA-256, 64 hexadecimal digits.
  """
  data = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
  return hashlib.sha256(data).hexdigest()


def shard_name(number: int, shards: int) -> str:
  """The file name of a shard.

  Args:
    number: Its number, from 0.
    shards: How many there are.

  Returns:
    For example "00000-of-00008.tfrecord".
  """
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
    `COLUMNS` to a sequence of strings, or an int64 array, `[utterances]`.

  Raises:
    ValueError: If there is no index or it is not as it was written.
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
  if index.get("format") not in (FORMAT, LARGE_FORMAT):
    raise ValueError(
      f"`directory` must hold records of format 1 or 2. Received: "
      f"format={index.get('format')}, directory={directory}"
    )
  # Records written before there was a checksum have none.
  checksum = index.pop("checksum", None)
  if checksum is not None and checksum != digest(index):
    raise wrong(path, "its content does not have its checksum")
  _check_header(path, index)
  if index["format"] == LARGE_FORMAT:
    result = _mapped(directory, index, checksum)
  else:
    result = _listed(path, index)
  check_columns(path, index, result)
  check_files(path, index, result)
  return index, result


def write(
  directory: str, index: dict, parts: Iterable[dict[str, Any]] | None = None
) -> dict:
  """Writes an index with its checksum, whole or not at all.

  Args:
    directory: of the records, local or remote.
    index: as for `sealed`, with "records", a dict from each of `COLUMNS` to a
      list.
    parts: in place of "records", an iterable of such dicts of sequences or
      pyarrow arrays, one after another.

  Returns:
    The index without its columns.
  """
  records = index.get("records", {})
  index = {name: value for name, value in index.items() if name != "records"}
  large = index["utterances"] >= LARGE
  if large and parts is None and not columns_.is_installed():
    logging.warning(
      "pyarrow is not installed (extra hf): %s gets an index that takes "
      "minutes to open where there are millions of utterances",
      directory,
    )
    large = False
  if parts is None and not large:
    whole = {**index, "format": FORMAT, "records": records}
  else:
    if parts is None:
      parts = _sliced(records, index["utterances"])
    found = columns_.write(f"{directory}/{COLUMNS_FILE}", parts)
    whole = {**index, "format": LARGE_FORMAT, "columns": found}
  content = json.dumps(sealed(whole), ensure_ascii=False)
  files.write_text(f"{directory}/index.json", content)
  return index


def _sliced(records, count):
  for start in range(0, count, columns_.BATCH):
    rows = slice(start, start + columns_.BATCH)
    yield {
      name: values[rows] if name in TEXTS else np.array(values[rows], np.int64)
      for name, values in records.items()
    }


def _mapped(directory, index, checksum):
  path = f"{directory}/{COLUMNS_FILE}"
  expected = index.pop("columns", None)
  if checksum is None or set(expected or ()) != {"bytes", "sha256"}:
    raise wrong(
      f"{directory}/index.json", "it must have columns and a checksum"
    )
  try:
    found = columns_.read(path, expected)
    result = {
      name: columns_.Strings(found[name], checksum, directory) for name in TEXTS
    }
    return result | {name: columns_.numbers(found[name]) for name in NUMBERS}
  except (ValueError, KeyError) as error:
    raise wrong(path, str(error)) from error
  except OSError as error:
    raise wrong(path, f"it cannot be read ({error.strerror})") from error


def _listed(path, index):
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
  return result


def wrong(path: str, what: str, remedy: str = _REMEDY) -> ValueError:
  """The error of a damaged file, in one sentence.

  Args:
    path: The damaged file.
    what: What is wrong with it.
    remedy: What to do about it.

  Returns:
    ValueError, not raised.
  """
  return ValueError(f"{path}: {what}; {remedy}")


def check_columns(path: str, index: dict, columns: dict) -> None:
  """Refuses columns that `tf_pcc.data.writing` cannot have written.

  Args:
    path: of the index, for the message.
    index: without its columns.
    columns: dict from each of `COLUMNS` to a sequence; those of `NUMBERS` are
      int64 arrays.

  Raises:
    ValueError: If a column is wrong; it is named, and the utterance.
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
    ValueError: If a file is missing or has another size.
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
  if type(index.get("normalizer", "")) is not str:
    raise wrong(path, "its field normalizer must be str")
  if index["encoding"] not in ENCODINGS or index["sample_rate"] < 1:
    raise wrong(
      path,
      f"encoding={index['encoding']!r} or sample_rate={index['sample_rate']} "
      "is out of range",
    )
  if not index["shards"] or {type(s) for s in index["shards"]} != {str}:
    raise wrong(path, "its field shards must be a list of SHA-256")

"""metrics.jsonl and TensorBoard: how a run goes, log step by log step."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_pcc import extras, files

_REMEDY = "remove that line, or restore a copy of the file"


@dataclasses.dataclass(frozen=True)
class _Line:
  """What every line has."""

  step: int


class Writer:
  """Appends lines to a run's metrics.jsonl, and the same to TensorBoard.

  A run that goes on from a checkpoint forgets the lines after it, and one that
  was being written when the run died: it will write them again.

  Args:
    directory: the run's directory.
    step: int, the step the run goes on from.
  """

  def __init__(self, directory: str | os.PathLike, step: int = 0):
    self._path = files.join(directory, "metrics.jsonl")
    if tf.io.gfile.exists(self._path):
      kept = [line for line in read(directory) if line["step"] <= step]
      files.write_text(self._path, "".join(map(_dump, kept)))
    # TensorFlow writes its files, but only with TensorBoard's own code.
    extras.load("tensorboard", "TensorBoard's files", "train")
    events = files.join(directory, "tensorboard")
    # TensorFlow does not say which folder it could not make.
    files.make_folder(events)
    self._events = tf.summary.create_file_writer(events)

  def write(self, line: Mapping[str, Any]) -> None:
    """Writes one line.

    Args:
      line: dict with "step" and numbers. What is not finite becomes null, which
        JSON has a word for.
    """
    files.append_text(self._path, _dump(line))
    with self._events.as_default(step=line["step"]):
      for name, value in line.items():
        if name != "step":
          tf.summary.scalar(name, value)
    self._events.flush()


def read(directory: str | os.PathLike) -> list[dict[str, Any]]:
  """The lines of a run's metrics.jsonl.

  Args:
    directory: the run's directory.

  Returns:
    list of dicts; a last line that was not written to its end is left out.
  """
  path = files.join(directory, "metrics.jsonl")
  lines = files.read_text(path).split("\n")[:-1]
  return [
    files.parse_json(line, f"{path}, line {number}", _REMEDY, _Line)
    for number, line in enumerate(lines, 1)
  ]


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
  """Numbers as JSON can hold them.

  Args:
    values: dict of numbers and of such dicts.

  Returns:
    The same, with None where a float is not finite.
  """
  return {
    name: finite(value)
    if isinstance(value, dict)
    else None
    if isinstance(value, float) and not math.isfinite(value)
    else value
    for name, value in values.items()
  }


def _dump(line):
  return json.dumps(finite(line), allow_nan=False) + "\n"

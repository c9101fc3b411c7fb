"""choice.json of a comparison: what was chosen for each method, among what."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from launch.comparison import choosing
from tf_pcc import files


def read(
  directory: str | os.PathLike, grid: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Any]]:
  """choice.json of a comparison.

  Args:
    directory: the comparison's.
    grid: `training_jobs.Settings.grid`.

  Returns:
    dict from method to {"fields", "tried", "at_edge"}, as
    `choosing.Choice`; {} where nothing was chosen yet.

  Raises:
    ValueError: If it was chosen among other values than those of the grid.
  """
  path = os.path.join(directory, "choice.json")
  if not os.path.exists(path):
    return {}
  found = files.read_json(path, _REMEDY, _ChoiceFile)
  try:
    return _read(found, path, grid)
  except _NoNumber as error:
    raise ValueError(
      f"{path} is not as it was written: {_REMEDY}. Received: {error}"
    ) from error


def _read(found, path, grid):
  """What `read` gives of a file's content."""
  then = {name: tuple(_numbers(line)) for name, line in found["grid"].items()}
  if then != {name: tuple(line) for name, line in grid.items()}:
    raise ValueError(
      f"GRID must be what was chosen from: {then}. To choose again, remove "
      f"{path} and {os.path.join(os.path.dirname(path), 'runs')}, or give "
      f"another --workdir. Received: GRID={dict(grid)}"
    )
  return {
    method: {
      **choice,
      "fields": dict(
        zip(choice["fields"], _numbers(choice["fields"].values()))
      ),
      "tried": [
        {**row, "value": _numbers([row["value"]])[0]} for row in choice["tried"]
      ],
    }
    for method, choice in found["methods"].items()
  }


def write(
  directory: str | os.PathLike,
  grid: Mapping[str, Sequence[float]],
  choices: Mapping[str, Mapping[str, Any]],
) -> None:
  """Writes choice.json, whole or not at all.

  Args:
    directory: the comparison's.
    grid: as `read` takes it.
    choices: as `read` gives them.
  """

  def plain(value):
    # JSON has no infinity.
    return "inf" if value == float("inf") else value

  files.write_json(
    os.path.join(directory, "choice.json"),
    {
      "format": 1,
      "rule": choosing.RULE,
      "grid": {name: [*map(plain, line)] for name, line in grid.items()},
      "methods": {
        method: {
          "fields": {f: plain(v) for f, v in choice["fields"].items()},
          "tried": [
            {**row, "value": plain(row["value"])} for row in choice["tried"]
          ],
          "at_edge": list(choice["at_edge"]),
        }
        for method, choice in choices.items()
      },
    },
  )


_REMEDY = "remove it: the fields are chosen again"


class _NoNumber(ValueError):
  """A value is none that `write` writes."""


def _numbers(values):
  try:
    return [float(value) for value in values]
  except ValueError as error:
    raise _NoNumber(error) from error


@dataclasses.dataclass(frozen=True)
class _Tried:
  """A value that was tried, in choice.json."""

  line: str
  value: float | str
  wer: list[float]
  score: float
  error: float
  taken: bool


@dataclasses.dataclass(frozen=True)
class _Choice:
  """The choice of one method in choice.json."""

  fields: dict[str, float | str]
  tried: list[_Tried]
  at_edge: list[str]


@dataclasses.dataclass(frozen=True)
class _ChoiceFile:
  """What is read of choice.json."""

  grid: dict[str, list[float | str]]
  methods: dict[str, _Choice]

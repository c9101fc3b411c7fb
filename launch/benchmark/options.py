"""Flags that several benchmarks have: one name and one meaning each.

Their defaults are the benchmark's own, so they are defined when one starts, not
when it is imported: two benchmarks can be imported in one process.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from absl import flags

from launch import cli
from tf_pcc import files

# Name: the least it can be, and what it is.
_SIZES = {
  "batch": (1, "Utterances of a batch."),
  "frames": (1, "Frames of an utterance."),
  "labels": (1, "Labels of an utterance."),
  "vocab": (2, "Classes with the blank."),
  "dim": (1, "Width of encoder and prediction."),
  "hidden": (1, "Width of the joint network."),
}
_MIN_ROUNDS = 3

_JSON = cli.json_flag()


def define_rounds(default: int) -> None:
  """Defines --rounds=N.

  Args:
    default: its default.
  """
  flags.DEFINE_integer(
    "rounds", default, "Steps of each that are timed.", lower_bound=_MIN_ROUNDS
  )


def require_rows(names: Sequence[str], known: Iterable[str]) -> None:
  """Refuses --rows with a name that is none.

  Args:
    names: what was given.
    known: the names that there are.

  Raises:
    ValueError: If there is no such row.
  """
  known = list(known)
  if set(names) - set(known):
    raise ValueError(
      f"--rows must be some of {', '.join(known)}. Received: "
      f"rows={','.join(names)}"
    )


def define_sound(sizes: list[str], size: str, seconds: float) -> None:
  """Defines --model_size and --duration.

  Args:
    sizes: those of the model.
    size: the default of --model_size.
    seconds: the default of --duration.
  """
  flags.DEFINE_enum("model_size", size, sorted(sizes), "Of the model.")
  flags.DEFINE_float("duration", seconds, "Seconds of sound.", lower_bound=1.0)


def define_sizes(**defaults: int) -> None:
  """Defines a flag for each size.

  Args:
    **defaults: of batch, frames, labels, vocab, dim, hidden, those that the
      benchmark has.
  """
  for name, default in defaults.items():
    least, meaning = _SIZES[name]
    flags.DEFINE_integer(name, default, meaning, lower_bound=least)


def sizes() -> dict[str, int]:
  """The sizes asked for, of those that are defined."""
  return {name: _value(name) for name in _SIZES if name in flags.FLAGS}


def rounds() -> int:
  """--rounds."""
  return _value("rounds")


def model_size() -> str:
  """--model_size."""
  return _value("model_size")


def duration() -> float:
  """--duration, in seconds."""
  return _value("duration")


def json_path() -> str | None:
  """--json, None where it is not given.

  Raises:
    ValueError: If no file can be written there.
  """
  if _JSON.value:
    files.require_parent(_JSON.value, "--json")
  return _JSON.value


def _value(name) -> Any:
  """Of a flag that has a default, so is never None."""
  return flags.FLAGS[name].value

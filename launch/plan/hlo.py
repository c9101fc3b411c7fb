"""What a compiled program and the compiler's complaints say, read from text."""

import math
import re
from collections.abc import Iterable

from launch.plan import step

_KINDS = (
  "all-gather",
  "all-reduce",
  "all-to-all",
  "collective-permute",
  "reduce-scatter",
)
_COLLECTIVE = re.compile(
  r" = (?P<type>\(.*?\)|\S+) (?P<kind>" + "|".join(_KINDS) + r")"
  r"(?P<start>-start)?\("
)
_CALL = re.compile(r" (all|collective|reduce-scatter|ragged)[\w-]*\(")
_SHAPE = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")
_UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def collectives(text: str) -> list[step.CompiledCollective]:
  """The operations in which cores wait for each other.

  Args:
    text: a compiled program in HLO.

  Returns:
    Those of the program, in its order; what is in a loop counts once.
  """
  found = []
  for match in _COLLECTIVE.finditer(text):
    sizes = [
      size_of(kind, (int(d) for d in dimensions.split(",") if d))
      for kind, dimensions in _SHAPE.findall(match["type"])
    ]
    if match["start"] and match["kind"] in ("all-gather", "collective-permute"):
      # What goes in, what comes out, and the device's own bookkeeping.
      sizes = sizes[1:2]
    found.append(step.CompiledCollective(match["kind"], sum(sizes), len(sizes)))
  return found


def lines_with_collectives(text: str) -> list[str]:
  """What of a program `collectives` reads.

  Args:
    text: a compiled program in HLO.

  Returns:
    Whole lines, more rather than fewer: kept, they can be read again.
  """
  return [line for line in text.splitlines() if _CALL.search(line)]


def size_of(kind: str, dimensions: Iterable[int]) -> int:
  """The bytes of an array.

  Args:
    kind: HLO's name of its elements' type, such as "bf16" or "pred".
    dimensions: its shape.

  Returns:
    int.
  """
  bits = re.search(r"\d+", kind)
  return math.ceil(int(bits[0]) / 8 if bits else 1) * math.prod(dimensions)


def memory_needed(error: str) -> tuple[int, int] | None:
  """The bytes that a compiler's complaint names.

  Args:
    error: str, of a compilation that failed.

  Returns:
    (needed, available) in bytes, or None when it was not for memory.
  """
  if "RESOURCE_EXHAUSTED" not in error:
    return None
  pairs = (
    r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)",
    r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm",
  )
  for pattern in pairs:
    if found := re.search(pattern, error):
      needed, unit, available, of = found.groups()
      return (
        int(float(needed) * _UNITS[unit]),
        int(float(available) * _UNITS[of]),
      )
  return None

"""A program's numbers as cells of a Markdown table."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from launch.plan import estimate, step


@dataclasses.dataclass(frozen=True)
class Numbers:
  """What tables compare of one program.

  Attributes:
    found: the step.
    collectives: number of compiled ones, None if it does not compile.
    small: how many of them are small, or None.
    reduced: bytes a core gets from all-reduces, or None.
  """

  found: step.Step
  collectives: int | None
  small: int | None
  reduced: float | None

  @property
  def needed(self) -> str:
    """HBM of a core in GiB, a cell."""
    memory = self.found.memory
    # Of one that does not fit the complaint names a part only.
    over = "over " if memory and not self.found.compiles else ""
    return over + gib(memory and memory.needed)

  @property
  def flops(self) -> float | None:
    """Operations by the compiler, or None."""
    return self.found.compiler_flops

  @property
  def bytes(self) -> float | None:
    """Bytes moved by the compiler's count, or None."""
    return self.found.compiler_bytes


def numbers(found: step.Step) -> Numbers:
  """The numbers of one program.

  Args:
    found: of `planning.Planner.compile` or `launch.plan.extension.of_blocks`.
  """
  if not found.compiles:
    return Numbers(found, None, None, None)
  collectives = found.collectives_compiled
  return Numbers(
    found,
    len(collectives),
    estimate.small_collectives(collectives),
    sum(c.bytes for c in collectives if c.kind == "all-reduce"),
  )


def markdown(rows: Sequence[dict[str, Any]]) -> str:
  """A table of rows with the same columns."""
  columns = list(rows[0])
  lines = [columns, ["---"] * len(columns)]
  lines += [[str(r[column]) for column in columns] for r in rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gib(size: float | None) -> str:
  """Bytes in GiB."""
  return "-" if size is None else f"{size / 2**30:.2f}"


def giga(value: float | None, unit: float = 1e9, digits: int = 3) -> str:
  """A number in units of a billion, or of another unit."""
  return "-" if value is None else f"{value / unit:.{digits}f}"


def more(value: float | None, base: float | None) -> str:
  """By how many percent a value is larger than another."""
  return "-" if value is None or base is None else f"{value / base - 1:+.2%}"


def less(value: float | None, base: float | None) -> float | None:
  """A value less another, None where one is unknown."""
  return None if value is None or base is None else value - base


def known(value: Any) -> Any:
  """A value as it is, a dash for None."""
  return "-" if value is None else value

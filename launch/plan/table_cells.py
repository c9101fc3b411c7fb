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

  Returns:
    `Numbers`, with None for what is unknown.
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
  """A table of rows with the same columns.

  Args:
    rows: at least one dict, all with the same keys.

  Returns:
    Lines of text.
  """
  columns = list(rows[0])
  lines = [columns, ["---"] * len(columns)]
  lines += [[str(r[column]) for column in columns] for r in rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gib(size: float | None) -> str:
  """Bytes in GiB.

  Args:
    size: bytes, or None.

  Returns:
    The number with two decimals; a dash for None.
  """
  return "-" if size is None else f"{size / 2**30:.2f}"


def giga(value: float | None, unit: float = 1e9, digits: int = 3) -> str:
  """A number in units of a billion, or of another unit.

  Args:
    value: number, or None.
    unit: the unit. Default a billion.
    digits: decimals. Default 3.

  Returns:
    The number of units; a dash for None.
  """
  return "-" if value is None else f"{value / unit:.{digits}f}"


def more(value: float | None, base: float | None) -> str:
  """By how many percent a value is larger than another.

  Args:
    value: number, or None.
    base: number it is compared with, or None.

  Returns:
    For example "+1.25%"; a dash where one is None.
  """
  return "-" if value is None or base is None else f"{value / base - 1:+.2%}"


def less(value: float | None, base: float | None) -> float | None:
  """A value less another, None where one is unknown.

  Args:
    value: number, or None.
    base: number that is taken away, or None.

  Returns:
    float, or None.
  """
  return None if value is None or base is None else value - base


def known(value: Any) -> Any:
  """A value as it is, a dash for None.

  Args:
    value: anything.

  Returns:
    It, or "-".
  """
  return "-" if value is None else value

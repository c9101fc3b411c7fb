"""Numbers of the report as text."""

from collections.abc import Mapping
from typing import Any


def minus(text: str) -> str:
  """Text of numbers with true minus signs.

  Args:
    text: text with hyphens for minus signs.

  Returns:
    The text.
  """
  return text.replace("-", "−")


def number(
  interval: Mapping[str, Any] | None, scale: float, digits: int
) -> str:
  """An interval as text: "12.3 (10.1 to 15.0)".

  Args:
    interval: dict with estimate, low and high, each a number or None; or None.
    scale: factor to the unit of the table, for example 100 for percent.
    digits: decimals.

  Returns:
    The text; a dash without an estimate, no limits where they are None.
  """
  if interval is None or interval["estimate"] is None:
    return "–"
  keys = ("estimate", "low", "high")
  numbers = [
    minus(f"{scale * interval[key]:.{digits}f}")
    for key in keys
    if interval[key] is not None
  ]
  if len(numbers) < 3:
    return numbers[0]
  return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"

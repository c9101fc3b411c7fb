"""Colours, lines and numbers of the audit's plots."""

from collections.abc import Callable, Mapping
from typing import Any

from tf_pcc.audit import cells

# Colour-blind safe (Okabe and Ito), sorted so that neighbours differ in
# lightness, too.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def style(index: int) -> dict[str, Any]:
  """Colour, marker and line style of a curve.

  Args:
    index: number of the curve, from 0; they repeat after the last.

  Returns:
    Dict of keyword arguments of matplotlib's `plot`.
  """
  return {
    "color": COLOURS[index % len(COLOURS)],
    "marker": MARKERS[index % len(MARKERS)],
    "linestyle": LINES[index % len(LINES)],
  }


def percent(value: float) -> str:
  """A fraction in percent: 0.1234 is "12.3%".

  Args:
    value: fraction.

  Returns:
    The text.
  """
  return f"{100 * value:.1f}%"


def spread(
  interval: Mapping[str, Any], form: Callable[[float], str] = percent
) -> str:
  """An interval dict in words: "12.3% (10.1% to 15.0%)".

  Args:
    interval: dict with estimate, low and high; limits may be None.
    form: function of a number that writes it. Default `percent`.

  Returns:
    The text.
  """
  words = form(interval["estimate"])
  if interval["low"] is not None:
    words += f" ({form(interval['low'])} to {form(interval['high'])})"
  return cells.minus(words)

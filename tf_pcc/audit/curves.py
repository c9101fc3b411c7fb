"""Curves over training: a line for each method, thin ones for its runs.

The line is the mean over the method's runs (seeds), its band reaches from the
lowest run to the highest, and its name stands at its end.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tf_pcc.audit import cells, figures, matching

_POINTS = 200
# Least distance between two names, in heights of the axes.
_GAP = 0.075


@dataclasses.dataclass(frozen=True)
class Curve:
  """One run's curve.

  Attributes:
    method: Name of the method; runs of one method are averaged.
    x: Array [k]: steps, ascending, or error rates, falling with training.
    y: Array [k].
  """

  method: str
  x: Sequence[float] | np.ndarray
  y: Sequence[float] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Band:
  """The runs of one method together, where all of them have a value.

  Attributes:
    x: Array [n].
    mean: Array [n], mean over the runs.
    low: Array [n], the lowest run.
    high: Array [n], the highest run.
  """

  x: np.ndarray
  mean: np.ndarray
  low: np.ndarray
  high: np.ndarray


def band_of(runs: Sequence[Curve], falling: bool = False) -> Band | None:
  """The mean of several runs at equal x, and their range.

  Args:
    runs: Curves of one method.
    falling: Whether x falls with training, as an error rate does. A run's value
      at x is then the one at which it first reaches x, as in `matched_wer`.

  Returns:
    The band over the x that all runs have, or None where there is no such x.

  Example:

  >>> x = [1, 3]
  >>> runs = [Curve("pcc", x, [0.0, 2.0]), Curve("pcc", x, [2.0, 4.0])]
  >>> band = band_of(runs)
  >>> band.x.tolist(), band.mean.tolist(), band.high.tolist()
  ([1.0, 3.0], [1.0, 3.0], [2.0, 4.0])
  """
  xs = [np.asarray(run.x, np.float64) for run in runs]
  if falling:
    low, high = max(x.min() for x in xs), min(x[0] for x in xs)
    if low > high:
      return None
    grid = np.linspace(high, low, _POINTS)
    values = [[_first(run, x) for x in grid] for run in runs]
  else:
    low, high = max(x[0] for x in xs), min(x[-1] for x in xs)
    if low > high:
      return None
    grid = np.unique(np.concatenate(xs))
    grid = grid[(low <= grid) & (grid <= high)]
    values = [np.interp(grid, x, run.y) for x, run in zip(xs, runs)]
  values = np.asarray(values, np.float64)
  return Band(grid, values.mean(0), values.min(0), values.max(0))


def _first(run, x):
  curve = matching.Run(
    run.method, 0, tuple(range(len(run.x))), tuple(run.x), {"y": tuple(run.y)}
  )
  return matching.at_wer(curve, x, "y")[0]


def curves_figure(
  name: str,
  title: str,
  text: str,
  curves: Sequence[Curve],
  xlabel: str,
  ylabel: str,
  logarithmic: str = "",
  falling: bool = False,
) -> figures.Figure:
  """Draws curves over checkpoints.

  Args:
    name: File name without ending.
    title: Heading.
    text: What it shows; the curves' last points are added.
    curves: One for each run.
    xlabel: Label of the x axis.
    ylabel: Label of the y axis.
    logarithmic: "x" or "y", the axis that is. Default: neither.
    falling: As in `band_of`. The axis is then turned, so that training goes to
      the right here, too. Default False.

  Returns:
    The figure.
  """
  methods = {curve.method: [] for curve in curves}
  for curve in curves:
    methods[curve.method].append(curve)

  def paint(axes):
    ends = []
    for index, (method, runs) in enumerate(methods.items()):
      looks = figures.style(index)
      for run in runs if len(runs) > 1 else ():
        axes.plot(run.x, run.y, color=looks["color"], linewidth=0.7, alpha=0.45)
      end = _paint_method(axes, runs, looks, falling)
      ends.append((method, looks["color"], end))
    if logarithmic:
      axes.set(**{f"{logarithmic}scale": "log"})
      axis = getattr(axes, f"{logarithmic}axis")
      axis.set_major_formatter(_plain_number)
      axis.set_minor_formatter(_plain_number)
    if falling:
      axes.invert_xaxis()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    _name_ends(axes, ends)

  last = "; ".join(
    f"{method} "
    + ", ".join(
      cells.minus(f"{run.y[-1]:.3g} at {run.x[-1]:.4g}") for run in runs
    )
    for method, runs in methods.items()
  )
  if any(len(runs) > 1 for runs in methods.values()):
    text = (
      "Thick: mean over the runs of a method; band: from its lowest run to its "
      f"highest; thin: single runs. {text}"
    )
  return figures.Figure(name, title, f"{text} {last}.", figures.draw(paint))


def _paint_method(axes, runs, looks, falling):
  """Draws the line of a method; returns where it ends."""
  band = None if len(runs) == 1 else band_of(runs, falling)
  if band is None:
    # One run, or runs that share no x: there is nothing to average.
    for run in runs:
      axes.plot(run.x, run.y, markersize=5, linewidth=1.8, **looks)
    return runs[0].x[-1], runs[0].y[-1]
  axes.fill_between(
    band.x, band.low, band.high, color=looks["color"], alpha=0.15, linewidth=0
  )
  axes.plot(
    band.x,
    band.mean,
    markersize=5,
    linewidth=2.2,
    # A dozen marks at most: they tell the lines apart without colour.
    markevery=max(1, len(band.x) // 10),
    **looks,
  )
  return band.x[-1], band.mean[-1]


def _name_ends(axes, ends):
  """Writes each method's name beside its line, in the right margin."""
  # Asked for, the limits are up to date; the transform alone may be stale.
  _ = axes.get_xlim(), axes.get_ylim()
  to_axes = axes.transData + axes.transAxes.inverted()
  heights = [to_axes.transform(end)[1] for _, _, end in ends]
  for (method, colour, end), height in zip(ends, spread_out(heights)):
    axes.annotate(
      _short(method),
      xy=end,
      xytext=(1.04, height),
      textcoords="axes fraction",
      color=colour,
      va="center",
      fontsize=10,
      annotation_clip=False,
      # A method may be named with dollar signs.
      parse_math=False,
      arrowprops={
        "arrowstyle": "-",
        "color": colour,
        "linewidth": 0.6,
        "shrinkA": 0,
        "shrinkB": 2,
      },
    )


def _short(name):
  # The caption has the whole name; the margin must leave room for the axes.
  return name if len(name) <= 22 else f"{name[:11]}…{name[-10:]}"


def spread_out(heights: Sequence[float], gap: float = _GAP) -> list[float]:
  """Moves heights apart until neighbours are `gap` from each other.

  Args:
    heights: Wanted heights.
    gap: Least distance.

  Returns:
    The heights in the order given; the order of their sizes is kept, and so is
    the mean of those that touch.

  Example:

  >>> [round(h, 2) for h in spread_out([0.5, 0.1, 0.5], gap=0.1)]
  [0.45, 0.1, 0.55]
  """
  order = np.argsort(np.asarray(heights), kind="stable")
  groups = []  # [wanted centre, size]
  for place in order:
    groups.append([heights[place], 1])
    while len(groups) > 1:
      (low, n), (high, m) = groups[-2:]
      if high - low >= gap * (n + m) / 2:
        break
      groups[-2:] = [[(low * n + high * m) / (n + m), n + m]]
  moved = [
    centre + gap * (i - (size - 1) / 2)
    for centre, size in groups
    for i in range(size)
  ]
  result = [0.0] * len(heights)
  for place, height in zip(order, moved):
    result[place] = float(height)
  return result


def _plain_number(value, place):
  del place
  return f"{value:g}" if f"{value:.0e}"[0] in "125" else ""

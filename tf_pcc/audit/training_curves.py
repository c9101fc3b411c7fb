"""One run's way through training, and where it reaches a word error rate."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_pcc.audit import checks


@dataclasses.dataclass(frozen=True)
class Run:
  """One training run's way, checkpoint by checkpoint.

  Attributes:
    method: Name of the method, for example "pcc".
    seed: The run's seed; runs of two methods with the same seed are a pair.
    steps: Array-like [k], ascending.
    wer: Array-like [k], word error rate on data that has no canaries.
    memorization: Dict of figure name -> array-like [k], for example
      {"extraction_x16": [...], "exposure_x16": [...]}.
    words: Words of the references behind the rates, the fewest of any
      checkpoint. With them rates are interpolated by their logarithms, default
      None: straight lines.
  """

  method: str
  seed: int
  steps: tuple
  wer: tuple
  memorization: dict
  words: int | None = None

  def __post_init__(self):
    steps = checks.as_scores("steps", self.steps)
    if np.any(np.diff(steps) <= 0):
      raise ValueError(
        "steps must rise from checkpoint to checkpoint. "
        f"Received: steps={list(self.steps)}"
      )
    if self.words is not None and self.words < 1:
      raise ValueError(
        "words must be the number of words of the references, at least 1, or "
        f"None where it is unknown. Received: words={self.words}"
      )
    if not all(0 <= wer < float("inf") for wer in self.wer):
      raise ValueError(
        "wer must hold fractions of at least 0; leave out checkpoints whose "
        f"word error rate is unknown. Received: wer={list(self.wer)} for "
        f"{self.method} seed {self.seed}"
      )
    curves = {"wer": self.wer, **self.memorization}
    for name, values in curves.items():
      if checks.as_scores(name, values).size != steps.size:
        raise ValueError(
          f"{name} must hold one number for each of {steps.size} checkpoints. "
          f"Received: {len(values)} numbers for {self.method} seed {self.seed}"
        )


def at_wer(run: Run, target: float, figure: str) -> tuple[float, float]:
  """A run's memorization when its word error rate first reaches `target`.

  Memorization is taken as straight between checkpoints; so is the logarithm of
  (errors + 0.5) / words, which is finite without an error, where run.words is
  known, and the word error rate itself where not: error rates fall about
  exponentially, and a straight line crosses a target late. A word error rate
  that rises again later does not count: the first crossing does.

  Args:
    run: Run.
    target: Word error rate, in the unit of run.wer.
    figure: Key of run.memorization.

  Returns:
    (value, step), floats; NaN for both when the run never reaches the target
    or had passed it before its first checkpoint.

  Raises:
    ValueError: If the run does not have the figure.

  Example:

  >>> run = Run("pcc", 0, (100, 200), (0.5, 0.25), {"extraction": (0.0, 0.5)})
  >>> at_wer(run, 0.375, "extraction")
  (0.25, 150.0)
  """
  curve_of(run, figure)
  wer = np.asarray(run.wer, np.float64)
  reached = np.flatnonzero(wer <= target)
  if not reached.size or (reached[0] == 0 and wer[0] < target):
    return float("nan"), float("nan")
  last = reached[0]
  first = max(0, last - 1)
  if run.words is not None:
    half = 0.5 / run.words
    wer, target = np.log(wer + half), np.log(target + half)
  span = wer[first] - wer[last]
  share = (wer[first] - target) / span if span > 0 else 1.0

  def between(values):
    return float(values[first] + share * (values[last] - values[first]))

  return between(run.memorization[figure]), between(run.steps)


def common_targets(runs: Sequence[Run]) -> list[float]:
  """Word error rates that every run passes through, lowest first.

  Args:
    runs: Sequence of Run.

  Returns:
    Up to four targets: the lowest rate all runs reach, and 1.25, 1.5 and 2
    times it as far as no run starts below that; 0 alone where all reach it.

  Raises:
    ValueError: If there are no runs, or no such rate.
  """
  if not runs:
    raise ValueError(f"runs must not be empty. Received: runs={runs!r}")
  lowest = max(min(run.wer) for run in runs)
  highest = min(run.wer[0] for run in runs)
  if lowest > highest:
    raise ValueError(
      "runs have no word error rate that all of them pass through; audit "
      "earlier checkpoints or train the slowest longer. Received: the best "
      f"of the worst run is {lowest:g}, the best start is {highest:g}"
    )
  factors = (1.0, 1.25, 1.5, 2.0)
  targets = [lowest * f for f in factors if lowest * f <= highest]
  return list(dict.fromkeys(targets))


def curve_of(run: Run, figure: str) -> Any:
  """One figure of a run, checkpoint by checkpoint.

  Args:
    run: Run.
    figure: Key of run.memorization, or "wer".

  Returns:
    Array-like [k].

  Raises:
    ValueError: If the run does not have the figure.
  """
  curves = {"wer": run.wer, **run.memorization}
  if figure not in curves:
    raise ValueError(
      f"figure must be one of {sorted(curves)}. Received: figure={figure!r}"
    )
  return curves[figure]

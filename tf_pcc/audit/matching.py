"""Runs compared where they recognise equally well, not at equal steps.

A run that converges faster has had more chance to memorize at the same step, so
a table at equal steps misleads. Here each run's memorization is read off its
own way through training at the point where its word error rate reaches a
target, and methods are compared seed by seed.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from tf_pcc.audit import bootstrap
from tf_pcc.audit.training_curves import (
  Run,
  at_wer,
  common_targets,
  curve_of,
)

# Where figures of memorization and the word error rate can lie at all.
_RATES = ("cer", "extraction", "auc", "wer")
_AT_LEAST_ZERO = ("exposure", "extrapolated_exposure")


def mean_over_seeds(
  values: ArrayLike,
  confidence: float = bootstrap.CONFIDENCE,
  scale: tuple[float, float] = (-np.inf, np.inf),
) -> bootstrap.Interval:
  """Mean and Student-t interval of a few seeds.

  A bootstrap of three seeds covers far less than it says; the t interval is
  wide and says so. It takes the values as symmetric. Of three exponential
  values it covers 88% and of three lognormal ones 84%, and so few show
  no skew to correct for; the difference of two such values is symmetric where
  nothing differs, and there it covers at least 95%. One seed has no interval,
  nor have seeds that agree up to rounding (three runs without any exact match):
  their limits are NaN.
  Limits beyond the ends of the scale are put there, or at a mean beyond them:
  a character error rate may exceed 1, a rank exposure be a little below 0.

  Args:
    values: Array [s]; NaN entries are left out.
    confidence: Coverage, default 0.95.
    scale: (low, high), where values can lie; default anywhere.

  Returns:
    bootstrap.Interval; all NaN without any value.
  """
  values = np.asarray(values, np.float64)
  values = values[~np.isnan(values)]
  nan = float("nan")
  if not values.size:
    return bootstrap.Interval(nan, nan, nan)
  mean = float(values.mean())
  if np.ptp(values) <= 1e-12 * max(1.0, abs(mean)):
    return bootstrap.Interval(mean, nan, nan)
  quantile = scipy.stats.t.ppf((1 + confidence) / 2, values.size - 1)
  half = float(quantile * values.std(ddof=1) / np.sqrt(values.size))
  low, high = np.clip([mean - half, mean + half], *scale)
  return bootstrap.Interval(mean, float(min(low, mean)), float(max(high, mean)))


def matched_wer(
  runs: Sequence[Run],
  figure: str,
  baseline: str,
  targets: Iterable[float] | None = None,
  lower_is_less: bool = True,
  confidence: float = bootstrap.CONFIDENCE,
) -> list[dict[str, Any]]:
  """Compare every method with a baseline at matched word error rates.

  The intervals are over seeds and hold for the canaries of this plan.

  Args:
    runs: Sequence of Run, any methods and seeds.
    figure: Key of their memorization.
    baseline: Name of the method to compare with.
    targets: Word error rates, one named twice counts once; default
      `common_targets(runs)`.
    lower_is_less: Whether a lower figure means less memorization: True for
      exposure, AUC or extraction, False for CER on canaries.
    confidence: Coverage of the intervals, default 0.95.

  Returns:
    List of dicts of JSON values, for each target and method: target, method,
    figure, seeds (those that reach the target), unreached (those that do not),
    value and step {estimate, low, high} over seeds, pairs (seeds compared),
    difference and step_difference {estimate, low, high} of method minus
    baseline paired over seeds (None for the baseline) and verdict: "less",
    "more" or "undecided" memorization than the baseline. NaN is written as
    None. Limits of value are clipped to 0 to 1 for rates and at 0 for exposure,
    those of step at 0; those of differences are not.

  Raises:
    ValueError: If no run is the baseline's, two runs share method and seed,
      or a figure is missing.
  """
  by_method = _group(runs, figure, baseline)
  if targets is None:
    targets = common_targets(list(runs))

  def read(members, target):
    return {seed: at_wer(run, target, figure) for seed, run in members.items()}

  return [
    {"target": float(target), "figure": figure, **row}
    for target in dict.fromkeys(targets)
    for row in _rows(
      {m: read(members, target) for m, members in by_method.items()},
      figure,
      baseline,
      lower_is_less,
      confidence,
    )
  ]


def matched_steps(
  runs: Sequence[Run],
  figure: str,
  baseline: str,
  steps: Iterable[float] | None = None,
  lower_is_less: bool = True,
  confidence: float = bootstrap.CONFIDENCE,
) -> list[dict[str, Any]]:
  """Compare every method with a baseline at equal numbers of steps.

  Args:
    runs: Sequence of Run.
    figure: Key of their memorization, or "wer".
    baseline: Name of the method to compare with.
    steps: Steps to compare at, interpolated between checkpoints; default the
      last step that all runs reached.
    lower_is_less: As in `matched_wer`.
    confidence: Coverage of the intervals, default 0.95.

  Returns:
    As `matched_wer`, with "target" the number of steps.

  Raises:
    ValueError: If `matched_wer` refuses the runs.
  """
  by_method = _group(runs, figure, baseline)
  if steps is None:
    steps = [min(run.steps[-1] for run in runs)]

  def read(run, step):
    inside = run.steps[0] <= step <= run.steps[-1]
    value = np.interp(step, run.steps, curve_of(run, figure))
    return (float(value), float(step)) if inside else (float("nan"),) * 2

  return [
    {"target": float(step), "figure": figure, **row}
    for step in dict.fromkeys(steps)
    for row in _rows(
      {
        method: {seed: read(run, step) for seed, run in members.items()}
        for method, members in by_method.items()
      },
      figure,
      baseline,
      lower_is_less,
      confidence,
    )
  ]


def _group(runs, figure, baseline):
  """{method: {seed: run}}, the baseline first."""
  by_method = {baseline: {}}
  for run in runs:
    curve_of(run, figure)
    members = by_method.setdefault(run.method, {})
    if run.seed in members:
      raise ValueError(
        "runs must differ in method or seed. "
        f"Received: two runs of method={run.method!r}, seed={run.seed!r}"
      )
    members[run.seed] = run
  if not by_method[baseline]:
    raise ValueError(
      "baseline must be the method of some run. Received: "
      f"baseline={baseline!r}, methods={sorted(set(by_method) - {baseline})}"
    )
  return by_method


def scale_of(figure: str) -> tuple[float, float]:
  """The ends of a figure's scale: (0, 1) for rates, from 0 for exposure.

  Args:
    figure: Key of run.memorization, or "wer".

  Returns:
    (low, high), infinite where there is no end.
  """
  key = figure.rpartition("_")[0] or figure
  if key in _RATES:
    return 0.0, 1.0
  return (0.0 if key in _AT_LEAST_ZERO else -np.inf), np.inf


def _rows(read, figure, baseline, lower_is_less, confidence):
  for method, values in read.items():
    reached = sorted(s for s, (value, _) in values.items() if value == value)
    row = {
      "method": method,
      "seeds": reached,
      "unreached": sorted(set(values) - set(reached)),
      "value": _fields(
        [values[s][0] for s in reached], confidence, scale_of(figure)
      ),
      "step": _fields(
        [values[s][1] for s in reached], confidence, (0.0, np.inf)
      ),
      "pairs": None,
      "difference": None,
      "step_difference": None,
      "verdict": None,
    }
    if method != baseline:
      other = read[baseline]
      pairs = [s for s in reached if s in other and other[s][0] == other[s][0]]
      change, later = (
        [values[s][i] - other[s][i] for s in pairs] for i in (0, 1)
      )
      row["pairs"] = pairs
      row["difference"] = _fields(change, confidence)
      row["step_difference"] = _fields(later, confidence)
      row["verdict"] = _verdict(row["difference"], lower_is_less)
    yield row


def _fields(values, confidence, scale=(-np.inf, np.inf)):
  return mean_over_seeds(values, confidence, scale).fields()


def _verdict(difference, lower_is_less):
  low, high = difference["low"], difference["high"]
  if low is None or low <= 0 <= high:
    return "undecided"
  return "less" if (high < 0) == lower_is_less else "more"

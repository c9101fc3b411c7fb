"""Verdicts over seeds, looked at more than once and for more than one endpoint.

Two looks with nominal levels of 0.01 and 0.045 keep a level of 0.05 together:
looks at half and at all of the data correlate by sqrt(1/2), and two bivariate
normal tests then reject with probability 0.0498 where nothing differs. It is a
two-look bound between those of Pocock and of O'Brien and Fleming, as the family
of Wang and Tsiatis (1987, Biometrics 43(1)) has them; see Jennison and Turnbull
(2000), "Group Sequential Methods with Applications to Clinical Trials", chapter
2. At each look Holm's step-down correction (1979, Scandinavian Journal of
Statistics 6(2)) holds the level over the endpoints: 0.0514 at worst, of ten
independent ones.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from tf_pcc.audit import bootstrap


@dataclasses.dataclass(frozen=True)
class Look:
  """One look at the data.

  Attributes:
    seeds: Pairs of runs that are there when it is taken.
    alpha: Two-sided level of its tests, after Holm's correction.
  """

  seeds: int
  alpha: float


LOOKS = (Look(5, 0.01), Look(10, 0.045))


@dataclasses.dataclass(frozen=True)
class Endpoint:
  """One question, and what each seed says to it.

  Attributes:
    name: What is compared, for the table.
    differences: Array-like [s], one number for each seed, in order of seeds.
    margin: What the mean difference is tested against, default 0.
    inferiority: Whether the claim is one-sided, that the mean lies below the
      margin (non-inferiority); otherwise that it is not the margin.
  """

  name: str
  differences: tuple[float, ...]
  margin: float = 0.0
  inferiority: bool = False


def holm(p_values: ArrayLike) -> np.ndarray:
  """P-values corrected for their number by Holm's step-down method.

  Args:
    p_values: Array-like [m], of any dependence. NaN stands for a test that
      could not be made: it counts as one and stays NaN.

  Returns:
    Float64 array [m]: reject where it is at most the level.

  Raises:
    ValueError: If one is not between 0 and 1.

  Example:

  >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
  [0.03, 0.06, 0.06]
  """
  p = np.asarray(p_values, np.float64)
  if p.ndim != 1 or np.any((p < 0) | (p > 1)):
    raise ValueError(
      f"p_values must be a list of numbers from 0 to 1. Received: {p_values!r}"
    )
  # NaN sorts last: the tests that were made are corrected for all.
  order = np.argsort(p, kind="stable")
  raised = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
  result = np.empty_like(p)
  result[order] = np.minimum(raised, 1.0)
  return result


def p_value(endpoint: Endpoint) -> float:
  """The p-value of an endpoint, Student's t over the seeds.

  Args:
    endpoint: `Endpoint`.

  Returns:
    Two-sided; of non-inferiority twice the one-sided one, at most 1, so that it
    is compared with the same level. NaN with fewer than two seeds, or where all
    agree with the margin; 0 where all agree on another value.
  """
  values = np.asarray(endpoint.differences, np.float64) - endpoint.margin
  if values.size < 2:
    return float("nan")
  error = values.std(ddof=1) / np.sqrt(values.size)
  mean = values.mean()
  if error == 0:
    if mean == 0:
      return float("nan")
    return 0.0 if not endpoint.inferiority or mean < 0 else 1.0
  distribution = scipy.stats.t(values.size - 1)
  if endpoint.inferiority:
    return float(min(1.0, 2 * distribution.cdf(mean / error)))
  return float(2 * distribution.sf(abs(mean) / error))


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What a look says of one endpoint.

  Attributes:
    endpoint: The `Endpoint`, with the seeds of the look alone.
    look: The `Look`.
    interval: `Interval` of the mean difference, coverage 1 - look.alpha, not
      corrected for the number of endpoints.
    p: P-value.
    corrected: The same after Holm's correction over the endpoints.
    verdict: "less", "more", "holds" (non-inferiority) or "undecided".
  """

  endpoint: Endpoint
  look: Look
  interval: bootstrap.Interval
  p: float
  corrected: float
  verdict: str

  @property
  def decided(self) -> bool:
    return self.verdict != "undecided"


def at_look(
  endpoints: Sequence[Endpoint], look: Look, missing: int = 0
) -> list[Verdict]:
  """Tests all endpoints on the seeds of one look.

  Args:
    endpoints: Sequence of `Endpoint`, each with at least look.seeds seeds.
    look: `Look`.
    missing: Endpoints that belong to the family and have no data yet, default
      0. They count as tests: once they are there, no p-value gets larger.

  Returns:
    List of `Verdict`, in order.

  Raises:
    ValueError: If an endpoint has fewer seeds.
  """
  short = [e.name for e in endpoints if len(e.differences) < look.seeds]
  if short:
    raise ValueError(
      f"endpoints must have the {look.seeds} seeds of the look. "
      f"Received: fewer for {', '.join(short)}"
    )
  endpoints = [
    dataclasses.replace(e, differences=tuple(e.differences[: look.seeds]))
    for e in endpoints
  ]
  p_values = [p_value(endpoint) for endpoint in endpoints]
  corrected_values = holm(p_values + [float("nan")] * missing)
  return [
    Verdict(
      endpoint,
      look,
      interval_of(endpoint, 1 - look.alpha),
      p,
      float(corrected),
      _verdict(endpoint, corrected <= look.alpha),
    )
    for endpoint, p, corrected in zip(endpoints, p_values, corrected_values)
  ]


def interval_of(
  endpoint: Endpoint, confidence: float = bootstrap.CONFIDENCE
) -> bootstrap.Interval:
  """The mean difference with Student's t limits.

  Args:
    endpoint: `Endpoint`.
    confidence: Coverage, default 0.95.

  Returns:
    `Interval`; its limits are NaN where there is one seed.
  """
  values = np.asarray(endpoint.differences, np.float64)
  mean, nan = float(values.mean()), float("nan")
  if values.size < 2:
    return bootstrap.Interval(mean, nan, nan)
  half = scipy.stats.t.ppf((1 + confidence) / 2, values.size - 1)
  half *= values.std(ddof=1) / np.sqrt(values.size)
  return bootstrap.Interval(mean, float(mean - half), float(mean + half))


def decide(
  endpoints: Sequence[Endpoint],
  looks: Sequence[Look] = LOOKS,
  missing: int = 0,
) -> list[list[Verdict]]:
  """All looks that the seeds are enough for.

  What one look has decided stays so: a later look may decide the others.

  Args:
    endpoints: Sequence of `Endpoint`.
    looks: Sequence of `Look`, by seeds.
    missing: As of `at_look`.

  Returns:
    A list of `Verdict` for each look that was reached, in the endpoints' order.
  """
  seeds = min((len(e.differences) for e in endpoints), default=0)
  reached, known = [], {}
  for look in looks:
    if look.seeds > seeds:
      break
    verdicts = [
      known.get(v.endpoint.name, v) for v in at_look(endpoints, look, missing)
    ]
    known |= {v.endpoint.name: v for v in verdicts if v.decided}
    reached.append(verdicts)
  return reached


def _verdict(endpoint, rejected):
  if not rejected:
    return "undecided"
  if endpoint.inferiority:
    return "holds"
  return "less" if np.mean(endpoint.differences) < endpoint.margin else "more"

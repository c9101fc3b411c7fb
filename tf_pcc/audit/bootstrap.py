"""Bootstrap intervals that stay honest at the ends of a scale.

Resampling twenty canaries of which none was extracted gives zero every time:
the plain bootstrap's interval for the extraction rate is [0, 0], and for an AUC
of one it is [1, 1]. So the weights here are those of the Bayesian bootstrap
(Rubin 1981, "The Bayesian Bootstrap", Annals of Statistics 9(1)), Dirichlet
instead of multinomial, with half an observation added at each end of the
scale. For a rate that is exactly the interval of Jeffreys' Beta(1/2, 1/2) prior
(Brown, Cai and DasGupta 2001, "Interval Estimation for a Binomial Proportion",
Statistical Science 16(2)).

Chosen by simulated coverage at nominal 95% (tests/audit/coverage_test.py): with
20 canaries and 200 hold-outs the plain percentile interval covers as little as
87% for a high AUC and 89% for a mean error rate; these stay near 95%.

A mean of values that have no ends cannot be treated so: the largest of twenty
skewed values says little about the largest there is. There the interval is the
bootstrap-t (Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
chapter 12), which resamples the mean in units of its own standard error.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tf_pcc.audit import checks

RESAMPLES = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
  """An estimate with its confidence limits.

  Attributes:
    estimate: the figure itself, NaN where it is unknown.
    low: lower limit, NaN where there is none.
    high: upper limit, NaN where there is none.
  """

  estimate: float
  low: float
  high: float

  def fields(self) -> dict[str, float | None]:
    """The interval as JSON values, in which NaN is None."""
    return {
      name: None if np.isnan(value) else value
      for name, value in self._asdict().items()
    }


def generator(seed: int | np.random.Generator | None) -> np.random.Generator:
  """NumPy's random generator of a seed.

  Args:
    seed: int, None for one that differs each time, or a generator, which is
      kept.

  Returns:
    `np.random.Generator`.
  """
  return np.random.default_rng(seed)


def dirichlet_weights(
  rng: np.random.Generator, count: int, resamples: int, ends: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Weights of `count` observations and of the scale's two ends.

  Args:
    rng: numpy Generator.
    count: Number of observations.
    resamples: Number of weight vectors, B.
    ends: Weight of each end beside 1 for an observation; default 0.5.

  Returns:
    weights [B, count], low_end [B], high_end [B]; each row sums to one in all.
  """
  drawn = np.empty((resamples, count + 2))
  # Gamma(1) is the exponential distribution, several times faster to draw.
  drawn[:, :count] = rng.standard_exponential((resamples, count))
  drawn[:, count:] = rng.standard_gamma(ends, size=(resamples, 2))
  drawn /= drawn.sum(axis=1, keepdims=True)
  return drawn[:, :count], drawn[:, count], drawn[:, count + 1]


def percentile_interval(
  estimate: float, replicates: np.ndarray, confidence: float = CONFIDENCE
) -> Interval:
  """The percentile interval of `replicates`, widened to hold `estimate`.

  Args:
    estimate: the figure itself.
    replicates: float array [b], the figure of each bootstrap sample.
    confidence: coverage, a fraction. Default `CONFIDENCE`.

  Returns:
    `Interval`.

  Raises:
    ValueError: If `confidence` is outside (0, 1).
  """
  tail = (1 - checks.as_fraction("confidence", confidence)) / 2
  low, high = np.quantile(replicates, [tail, 1 - tail])
  return Interval(
    float(estimate), float(min(low, estimate)), float(max(high, estimate))
  )


def mean_interval(
  values: ArrayLike,
  ends: tuple[float, float] | None = None,
  sizes: ArrayLike | None = None,
  resamples: int = RESAMPLES,
  confidence: float = CONFIDENCE,
  seed: int | np.random.Generator | None = 0,
) -> Interval:
  """Bootstrap interval of a mean, or of a ratio of sums, over canaries.

  With `ends` it is that of the Bayesian bootstrap with half an observation at
  each end. Without, it is the bootstrap-t, which holds for skewed values, too:
  at 20 exponential values it covers 95%, where percentiles cover 91%. The tail
  of a lognormal distribution is not in so small a sample: 91%.

  Args:
    values: Array [n]: one figure a canary. With `sizes`, its numerator.
    ends: (low, high), the ends of the scale, for example (0, 1) for a rate;
      None (default): the values have no ends.
    sizes: Array [n] of positive denominators, for example reference characters
      when `values` counts errors; the estimate is then sum(values)/sum(sizes).
      Default None: the plain mean.
    resamples: Number of bootstrap draws.
    confidence: Coverage aimed at, default 0.95.
    seed: Integer or numpy Generator.

  Returns:
    Interval(estimate, low, high). Without `ends`, one value has no interval
    (its limits are NaN), and values that are all equal have limits that equal
    their mean.

  Raises:
    ValueError: If there is a NaN, no value, or sizes do not match.

  Example:

  >>> interval = mean_interval([0, 0, 1, 0], ends=(0, 1))
  >>> interval.estimate
  0.25
  >>> 0 < interval.low < 0.25 < interval.high < 1
  True
  """
  values = checks.as_scores("values", values)
  if sizes is None:
    sizes = np.ones_like(values)
  else:
    sizes = checks.as_scores("sizes", sizes)
    if sizes.shape != values.shape or np.any(sizes <= 0):
      raise ValueError(
        "sizes must hold one positive number a value. Received: "
        f"values of shape {values.shape}, sizes of shape {sizes.shape} with "
        f"minimum {sizes.min():g}"
      )
  rng = generator(seed)
  if ends is None:
    return _studentised(rng, values, sizes, resamples, confidence)
  weights, low, high = dirichlet_weights(rng, values.size, resamples)
  typical = sizes.mean()
  replicates = weights @ values + typical * (low * ends[0] + high * ends[1])
  replicates /= weights @ sizes + typical * (low + high)
  return percentile_interval(values.sum() / sizes.sum(), replicates, confidence)


def _studentised(rng, values, sizes, resamples, confidence):
  """The bootstrap-t interval of sum(values) / sum(sizes)."""
  tail = (1 - checks.as_fraction("confidence", confidence)) / 2
  count, estimate = values.size, float(values.sum() / sizes.sum())
  if count == 1:
    return Interval(estimate, float("nan"), float("nan"))
  residuals = values - estimate * sizes

  def change_and_error(chosen):
    # The error of a ratio is that of its linearised terms.
    size, terms = sizes[chosen], residuals[chosen]
    change = terms.sum(axis=1) / size.sum(axis=1)
    deviation = np.linalg.norm(terms - change[:, None] * size, axis=1)
    return change, deviation / size.mean(axis=1) / np.sqrt(count * (count - 1))

  _, (error,) = change_and_error(np.arange(count)[None])
  drawn = rng.integers(0, count, size=(resamples, count))
  changes, errors = change_and_error(drawn)
  # A draw of equal values has no error of its own, and says nothing.
  told = errors > 1e-6 * error
  if not np.any(told):
    return Interval(estimate, estimate, estimate)
  deviations = changes[told] / errors[told]
  low, high = estimate - error * np.quantile(deviations, [1 - tail, tail])
  return Interval(
    estimate, float(min(low, estimate)), float(max(high, estimate))
  )

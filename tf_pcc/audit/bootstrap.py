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
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tf_pcc.audit import checks

RESAMPLES = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
  """An estimate with its confidence limits."""

  estimate: float
  low: float
  high: float


def generator(seed: int | np.random.Generator | None) -> np.random.Generator:
  """NumPy's generator for `seed`, an integer, None or a generator."""
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
  """The percentile interval of `replicates`, widened to hold `estimate`."""
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

  Args:
    values: Array [n]: one figure a canary. With `sizes`, its numerator.
    ends: (low, high), the ends of the scale, for example (0, 1) for a rate;
      None (default) takes the smallest and the largest value seen.
    sizes: Array [n] of positive denominators, for example reference characters
      when `values` counts errors; the estimate is then sum(values)/sum(sizes).
      Default None: the plain mean.
    resamples: Number of bootstrap draws.
    confidence: Coverage aimed at, default 0.95.
    seed: Integer or numpy Generator.

  Returns:
    Interval(estimate, low, high).

  Raises:
    ValueError: for NaN, no values, or sizes that do not match.

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
  ratios = values / sizes
  low_end, high_end = (ratios.min(), ratios.max()) if ends is None else ends
  weights, low, high = dirichlet_weights(
    generator(seed), values.size, resamples
  )
  typical = sizes.mean()
  replicates = weights @ values + typical * (low * low_end + high * high_end)
  replicates /= weights @ sizes + typical * (low + high)
  return percentile_interval(values.sum() / sizes.sum(), replicates, confidence)

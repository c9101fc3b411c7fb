"""Exposure: how far a canary stands out from ones never trained on, in bits.

Carlini et al. 2019, "The Secret Sharer", USENIX Security (arXiv 1802.08232),
sections 4.2 (rank) and 4.3 (extrapolation by a skew-normal distribution).
Scores are losses or error rates: a lower score means more memorized.
"""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from numpy.typing import ArrayLike

from tf_pcc.audit import bootstrap, checks


def rank_exposure(scores: ArrayLike, holdout_scores: ArrayLike) -> np.ndarray:
  """Exposure by rank among hold-out canaries that were never trained on.

  exposure(c) = log2 N - log2 rank(c), where rank(c) = 1 + the number of
  hold-out scores <= score(c): at a tie the hold-out goes first. A canary
  scored lower than all N hold-outs gets the ceiling log2 N and no rank can show
  more; one never seen gets `unseen(N)` on average.

  Args:
    scores: Array [n], one score a canary; lower means more memorized.
    holdout_scores: Array [N] of the hold-out's scores.

  Returns:
    Array [n] float64, in the order of `scores`.

  Raises:
    ValueError: If a score is NaN or an array is empty or not a vector.

  Example:

  >>> rank_exposure([0.0, 3.5], range(1, 17)).tolist()
  [4.0, 2.0]
  """
  scores = checks.as_scores("scores", scores)
  holdout = np.sort(checks.as_scores("holdout_scores", holdout_scores))
  ranks = 1 + np.searchsorted(holdout, scores, side="right")
  return np.log2(holdout.size) - np.log2(ranks)


def ceiling(holdout_size: int) -> float:
  """The largest exposure that a rank can have.

  Args:
    holdout_size: number of hold-outs, at least 1.

  Returns:
    Bits, log2 of `holdout_size`.
  """
  return float(np.log2(holdout_size))


def unseen(holdout_size: int) -> float:
  """Mean exposure of canaries never seen, whose N + 1 ranks are equally likely.

  log2 N minus the mean of log2(1), ..., log2(N + 1): 1.20 for 20, 1.41 for 200,
  and 1/ln 2 = 1.44 in the limit. Where scores tie the ranks are not equally
  likely: `unseen_among` takes the hold-out's own scores.

  Args:
    holdout_size: N.

  Returns:
    A float, in bits.
  """
  ranks = np.arange(1, holdout_size + 2)
  return float(np.log2(holdout_size) - np.log2(ranks).mean())


def unseen_among(holdout_scores: ArrayLike) -> float:
  """Mean exposure of canaries never seen, by the hold-out's own scores.

  Every hold-out score is ranked among the others, each in turn as if it were a
  canary's. Without ties that is `unseen(N - 1)`; ties, as error rates have
  them, lower it, since a canary comes after the hold-outs that it ties with.

  Args:
    holdout_scores: Array [N], N >= 2.

  Returns:
    A float, in bits.

  Raises:
    ValueError: If a score is NaN or there are fewer than two.

  Example:

  >>> [round(unseen_among(s), 2) for s in (range(200), [1.0] * 16)]
  [1.41, -0.09]
  """
  return float(left_out_exposure(holdout_scores).mean())


def left_out_exposure(holdout_scores: ArrayLike) -> np.ndarray:
  """Exposure of each hold-out canary among the others: what no training gives.

  Args:
    holdout_scores: Array [N], N >= 2.

  Returns:
    Array [N] float64, in bits, in the order of the scores.

  Raises:
    ValueError: If a score is NaN or there are fewer than two.

  Example:

  >>> left_out_exposure([3.0, 1.0, 2.0]).round(2).tolist()
  [-0.58, 1.0, 0.0]
  """
  holdout = checks.as_scores("holdout_scores", holdout_scores, 2)
  # Itself is among the scores <= its own: the 1 of the rank.
  ranks = np.searchsorted(np.sort(holdout), holdout, side="right")
  return np.log2(holdout.size - 1) - np.log2(ranks)


def exposure_interval(
  scores: ArrayLike,
  holdout_scores: ArrayLike,
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int | np.random.Generator = 0,
) -> bootstrap.Interval:
  """The mean rank exposure with its bootstrap interval.

  Both the canaries and the hold-out are resampled: one hold-out set ranks all
  canaries, so its luck does not average out over them. The hold-out's draw
  gives weights to the N + 1 gaps between its sorted scores; a canary sits in
  the middle of its gap. Resampling the scores themselves would leave the
  rank of a canary below all of them at exactly 1, as if its place were known.

  Args:
    scores: Array [n] of the canaries' scores.
    holdout_scores: Array [N] of the hold-out's scores.
    resamples: Number of bootstrap draws.
    confidence: Coverage aimed at, default 0.95.
    seed: Integer or numpy Generator.

  Returns:
    bootstrap.Interval, in bits.

  Raises:
    ValueError: If `rank_exposure` refuses the scores.
  """
  exposures = rank_exposure(scores, holdout_scores)
  size = np.size(holdout_scores)
  below = np.searchsorted(
    np.sort(np.asarray(holdout_scores, np.float64)),
    np.asarray(scores, np.float64),
    side="right",
  )
  rng = bootstrap.generator(seed)
  gaps = rng.standard_exponential((resamples, size + 1))
  gaps /= gaps.sum(axis=1, keepdims=True)
  middles = np.cumsum(gaps, axis=1) - gaps / 2
  drawn = np.log2(size) - np.log2(1 + size * middles[:, below])
  drawn += exposures - drawn.mean(axis=0)
  weights, low, high = bootstrap.dirichlet_weights(
    rng, exposures.size, resamples
  )
  replicates = (
    np.sum(weights * drawn, axis=1)
    + low * np.log2(size / (size + 1))
    + high * np.log2(size)
  )
  # Recentring may push a draw past the ceiling, which no rank can.
  replicates = np.minimum(replicates, np.log2(size))
  return bootstrap.percentile_interval(exposures.mean(), replicates, confidence)


def skewnorm_logcdf(x: ArrayLike, shape: float) -> np.ndarray:
  """Log of the standard skew-normal's distribution function, at any depth.

  Far in the lower tail the distribution function underflows (or is lost to
  cancellation) and its logarithm is -inf. There the integral is taken in log
  space: with f the density and s = (log f)'(x), integral of f below x =
  f(x)/s * integral of exp(-v) r(v) dv, where r(v) = exp(v) f(x - v/s)/f(x) <= 1
  because f is log-concave: Gauss-Laguerre quadrature.

  Args:
    x: Array of standardised scores.
    shape: The skew-normal's shape parameter (0: a normal distribution).

  Returns:
    Array float64, shaped as `x`.
  """
  x = np.asarray(x, np.float64)
  with np.errstate(divide="ignore"):
    logcdf = np.asarray(scipy.stats.skewnorm.logcdf(x, shape), np.float64)
  # scipy's own value is good to about 1e-16 absolute: fine above 1e-6.
  deep = ~(logcdf > np.log(1e-6)) & np.isfinite(x)
  if np.any(deep):
    logcdf = np.array(logcdf)
    logcdf[deep] = _tail_logcdf(x[deep], shape)
  return logcdf


def _tail_logcdf(x, shape):
  nodes, weights = np.polynomial.laguerre.laggauss(64)
  mills = np.exp(
    scipy.stats.norm.logpdf(shape * x) - scipy.special.log_ndtr(shape * x)
  )
  slope = (shape * mills - x)[:, None]
  steps = nodes / slope
  # log f(x - steps) - log f(x), with the squares expanded: their difference
  # would lose all digits far out.
  change = (
    x[:, None] * steps
    - steps**2 / 2
    + scipy.special.log_ndtr(shape * (x[:, None] - steps))
    - scipy.special.log_ndtr(shape * x)[:, None]
  )
  integral = scipy.special.logsumexp(change + nodes, b=weights, axis=1)
  return _logpdf(x, shape) - np.log(slope[:, 0]) + integral


def _logpdf(x, shape):
  return (
    np.log(2) + scipy.stats.norm.logpdf(x) + scipy.special.log_ndtr(shape * x)
  )


@dataclasses.dataclass(frozen=True)
class SkewNormalFit:
  """A skew-normal distribution fitted to the hold-out's scores.

  Attributes:
    shape: Skewness parameter; 0 is a normal distribution.
    loc: Location, in the unit of the scores.
    scale: Scale, in the unit of the scores.
    ks_statistic: Kolmogorov-Smirnov distance between fit and hold-out.
    ks_pvalue: Its p-value. The parameters come from the same scores, so it errs
      on the high side: a small one condemns the fit, a large one proves little.
  """

  shape: float
  loc: float
  scale: float
  ks_statistic: float
  ks_pvalue: float

  def exposure(self, scores: ArrayLike) -> np.ndarray:
    """Exposure by the fitted distribution.

    Args:
      scores: array-like [n], in the unit of the fitted scores.

    Returns:
      float64 array [n], bits: -log2 of the probability of a score <= each.
    """
    scores = checks.as_scores("scores", scores)
    return -skewnorm_logcdf(
      (scores - self.loc) / self.scale, self.shape
    ) / np.log(2)


def fit_skew_normal(holdout_scores: ArrayLike) -> SkewNormalFit:
  """Fit a skew-normal distribution by penalised maximum likelihood.

  Plain maximum likelihood sends the shape to infinity for a good part of small
  samples, and an infinite shape gives a canary one step below the hold-out
  infinitely many bits. The penalty c1 log(1 + c2 shape^2) of Azzalini and
  Arellano-Valle 2013 ("Maximum penalized likelihood estimation for skew-normal
  and skew-t distributions", J. Stat. Plan. Inference 143(2)) keeps it finite.

  Args:
    holdout_scores: Array [N], N >= 20, finite and not all equal.

  Returns:
    SkewNormalFit.

  Raises:
    ValueError: If there are fewer than 20 scores, one is not finite, or all are
      equal.
  """
  holdout = checks.as_scores(
    "holdout_scores", holdout_scores, checks.SMALLEST_HOLDOUT
  )
  if not np.all(np.isfinite(holdout)):
    raise ValueError(
      "holdout_scores must be finite to fit a distribution to them. Received: "
      f"{np.sum(~np.isfinite(holdout))} infinite scores"
    )
  mean, deviation = holdout.mean(), holdout.std()
  if not deviation > 1e-12 * max(1.0, abs(mean)):
    raise ValueError(
      "holdout_scores must differ to fit a distribution to them; use "
      f"rank_exposure. Received: {holdout.size} scores that all equal {mean:g}"
    )
  unit = (holdout - mean) / deviation

  def objective(parameters):
    loc, log_scale, shape = parameters
    z = (unit - loc) * np.exp(-log_scale)
    penalty = 0.87591 * np.log1p(0.85625 * shape**2)
    return log_scale * unit.size - np.sum(_logpdf(z, shape)) + penalty

  # From both sides: at shape 0 the likelihood has a stationary point.
  fits = [
    scipy.optimize.minimize(objective, [-side * 0.5, 0.0, side], method="BFGS")
    for side in (1.0, -1.0)
  ]
  loc, log_scale, shape = min(fits, key=lambda fit: fit.fun).x
  scale = np.exp(log_scale)
  test = scipy.stats.kstest(
    unit, lambda x: np.exp(skewnorm_logcdf((x - loc) / scale, shape))
  )
  return SkewNormalFit(
    shape=float(shape),
    loc=float(mean + deviation * loc),
    scale=float(deviation * scale),
    ks_statistic=float(test.statistic),
    ks_pvalue=float(test.pvalue),
  )


def extrapolated_exposure(
  scores: ArrayLike, holdout_scores: ArrayLike
) -> np.ndarray:
  """Exposure beyond the ceiling of ranks, by a skew-normal fit to the hold-out.

  Read it together with `fit_skew_normal(holdout_scores).ks_pvalue`: where the
  fit is bad or the canary lies far below every hold-out, it is an extrapolation
  and no measurement.

  Args:
    scores: Array [n], one score a canary; lower means more memorized.
    holdout_scores: Array [N], N >= 20, finite.

  Returns:
    Array [n] float64, in bits, in the order of `scores`; never below zero.

  Raises:
    ValueError: If a score is NaN, or as `fit_skew_normal`.
  """
  return fit_skew_normal(holdout_scores).exposure(scores)

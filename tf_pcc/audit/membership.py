"""Membership inference: can inserted canaries be told from hold-out ones?

The attack says "trained on" where a score is low. Carlini et al. 2022,
"Membership Inference Attacks From First Principles" (arXiv 2112.03570), argues
for the true-positive rate at a low false-positive rate beside the AUC.
"""

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from tf_pcc.audit import bootstrap, checks


def roc_curve(
  scores: ArrayLike, holdout_scores: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
  """The receiver operating characteristic of "low score: trained on".

  Args:
    scores: Array [n] of inserted canaries' scores.
    holdout_scores: Array [N] of hold-out scores.

  Returns:
    (fpr, tpr), float64 arrays that rise from 0 to 1, one point for each
    distinct score and one for "nobody".

  Raises:
    ValueError: If scores are NaN or empty.
  """
  inserted = np.sort(checks.as_scores("scores", scores))
  holdout = np.sort(checks.as_scores("holdout_scores", holdout_scores))
  thresholds = np.unique(np.concatenate([inserted, holdout]))
  tpr = np.searchsorted(inserted, thresholds, side="right") / inserted.size
  fpr = np.searchsorted(holdout, thresholds, side="right") / holdout.size
  return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])


def auc(scores: ArrayLike, holdout_scores: ArrayLike) -> float:
  """Chance that an inserted canary scores lower than a hold-out one.

  Ties count one half, so it is the area under `roc_curve`. 0.5 is guessing.

  Args:
    scores: Array [n] of inserted canaries' scores.
    holdout_scores: Array [N] of hold-out scores.

  Returns:
    A float in [0, 1].

  Raises:
    ValueError: If scores are NaN or empty.
  """
  inserted = checks.as_scores("scores", scores)
  holdout = np.sort(checks.as_scores("holdout_scores", holdout_scores))
  return float(_placements(inserted, holdout).mean())


def places(
  scores: np.ndarray, sorted_holdout: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Where scores stand among hold-outs; ties lie between the two counts.

  Args:
    scores: Array [n].
    sorted_holdout: Array [N], ascending.

  Returns:
    Arrays [n]: how many of the hold-out are below each score, and how many are
    below or equal.
  """
  below = np.searchsorted(sorted_holdout, scores, side="left")
  upto = np.searchsorted(sorted_holdout, scores, side="right")
  return below, upto


def _placements(inserted, sorted_holdout):
  """For each inserted score, the share of the hold-out above it, [n]."""
  below, upto = places(inserted, sorted_holdout)
  return 1 - (below + upto) / (2 * sorted_holdout.size)


def auc_interval(
  scores: ArrayLike,
  holdout_scores: ArrayLike,
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int | np.random.Generator = 0,
) -> bootstrap.Interval:
  """`auc` with its bootstrap interval over canaries and hold-outs.

  Args:
    scores: Array [n] of inserted canaries' scores.
    holdout_scores: Array [N] of hold-out scores.
    resamples: Number of bootstrap draws.
    confidence: Coverage aimed at, default 0.95.
    seed: Integer or numpy Generator.

  Returns:
    bootstrap.Interval.

  Raises:
    ValueError: If scores are NaN or empty.
  """
  inserted = checks.as_scores("scores", scores)
  holdout = np.sort(checks.as_scores("holdout_scores", holdout_scores))
  rng = bootstrap.generator(seed)
  weights, _, high = bootstrap.dirichlet_weights(rng, inserted.size, resamples)
  below, upto = places(inserted, holdout)
  mass = _cumulative(rng, holdout.size, resamples)
  placements = 1 - (mass[:, below] + mass[:, upto]) / 2
  replicates = np.sum(weights * placements, axis=1) + high
  return bootstrap.percentile_interval(
    _placements(inserted, holdout).mean(), replicates, confidence
  )


def _cumulative(rng, count, resamples):
  """Bootstrap weight of the first k of `count` hold-outs, [B, count + 1]."""
  weights, _, _ = bootstrap.dirichlet_weights(rng, count, resamples, ends=0.0)
  mass = np.cumsum(weights, axis=1)
  return np.concatenate([np.zeros((resamples, 1)), mass], axis=1)


def tpr_at_fpr(
  scores: ArrayLike, holdout_scores: ArrayLike, fpr: float = 0.01
) -> float:
  """Share of inserted canaries found at a share `fpr` of false alarms.

  The threshold lies below the smallest hold-out score that would make it too
  many. N hold-outs resolve false-positive rates in steps of 1/N. With fpr < 1/N
  this is the share of canaries below every hold-out, whatever fpr is: no
  measurement of that rate, and the audit's tables leave it out (`resolves`).

  Args:
    scores: Array [n] of inserted canaries' scores.
    holdout_scores: Array [N] of hold-out scores.
    fpr: The false-positive rate, in (0, 1); default 1%.

  Returns:
    A float in [0, 1].

  Raises:
    ValueError: If scores are NaN or empty, or fpr is outside (0, 1).

  Example:

  >>> tpr_at_fpr([0.1, 0.2, 0.9], [0.5] * 100, fpr=0.01)
  0.6666666666666666
  """
  inserted = checks.as_scores("scores", scores)
  holdout = np.sort(checks.as_scores("holdout_scores", holdout_scores))
  allowed = _allowed(holdout.size, fpr)
  return float(np.mean(inserted < holdout[allowed]))


def resolves(holdout_size: int, fpr: float) -> bool:
  """Whether so many hold-outs can show a false-positive rate.

  Args:
    holdout_size: number of hold-outs, N.
    fpr: false-positive rate, a fraction.

  Returns:
    Whether `fpr` is at least 1 / N.
  """
  return _allowed(holdout_size, fpr) >= 1


def _allowed(size, fpr):
  # The epsilon keeps 0.01 * 300 = 3.0000000000000004 and its kind in place.
  return int(checks.as_fraction("fpr", fpr) * size + 1e-9)


def tpr_interval(
  scores: ArrayLike,
  holdout_scores: ArrayLike,
  fpr: float = 0.01,
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int | np.random.Generator = 0,
) -> bootstrap.Interval:
  """`tpr_at_fpr` with its bootstrap interval over canaries and hold-outs.

  The threshold of a false-positive rate is not known either: between which
  two hold-outs it lies is drawn from its exact distribution, and within the gap
  it is interpolated. Below all hold-outs their tail is taken as exponential.

  Args:
    scores: Array [n] of inserted canaries' scores.
    holdout_scores: Array [N] of hold-out scores.
    fpr: The false-positive rate, in (0, 1); default 1%.
    resamples: Number of bootstrap draws.
    confidence: Coverage aimed at, default 0.95.
    seed: Integer or numpy Generator.

  Returns:
    bootstrap.Interval.

  Raises:
    ValueError: If `tpr_at_fpr` refuses the arguments.
  """
  estimate = tpr_at_fpr(scores, holdout_scores, fpr)
  inserted = np.sort(np.asarray(scores, np.float64))
  holdout = np.sort(np.asarray(holdout_scores, np.float64))
  rng = bootstrap.generator(seed)
  gaps = rng.standard_exponential((resamples, holdout.size + 1))
  mass = np.cumsum(gaps / gaps.sum(axis=1, keepdims=True), axis=1)
  # A draw's threshold lies in the gap above its first `gap` hold-outs, at the
  # height at which the mass below it is fpr.
  gap = np.minimum(np.sum(mass <= fpr, axis=1), holdout.size)
  draws = np.arange(resamples)
  begin = np.where(gap > 0, mass[draws, gap - 1], 0.0)
  share = (fpr - begin) / (mass[draws, gap] - begin)
  edges = np.concatenate([[-np.inf], holdout, [np.inf]])
  most = np.searchsorted(inserted, edges[gap + 1], side="left")
  least = np.searchsorted(inserted, edges[gap], side="right")
  # Below all hold-outs there is nothing to interpolate from: an exponential
  # tail, of the scale of the smallest sqrt(N), says how far down.
  first = np.where(gap == 0, mass[:, 0], fpr)
  below = holdout[0] - _tail_scale(holdout) * np.log(first / fpr)
  least = np.where(
    gap > 0, np.minimum(least, most), np.searchsorted(inserted, below)
  )
  share = np.where(gap > 0, share, 0.0)
  weights, _, high = bootstrap.dirichlet_weights(rng, inserted.size, resamples)
  found = np.cumsum(np.pad(weights, ((0, 0), (1, 0))), axis=1)
  low_end, high_end = found[draws, least], found[draws, most]
  replicates = low_end + share * (high_end - low_end) + high
  return bootstrap.percentile_interval(estimate, replicates, confidence)


def _tail_scale(holdout):
  """Mean distance of the smallest sqrt(N) hold-outs from the next one."""
  count = max(1, int(np.sqrt(holdout.size)))
  if holdout.size <= count or not np.isfinite(holdout[count]):
    return 0.0
  return float(np.mean(holdout[count] - holdout[:count]))


def epsilon_lower_bound(
  scores: ArrayLike,
  holdout_scores: ArrayLike,
  delta: float = 0.0,
  confidence: float = bootstrap.CONFIDENCE,
) -> float:
  """A lower confidence bound on the epsilon of (epsilon, delta)-privacy.

  A private training run keeps TPR <= exp(epsilon) FPR + delta for every attack
  (and the same for the complements). The thresholds are the hold-out's 1st,
  2nd, 4th, 8th ... smallest scores, fixed before looking; at each,
  Clopper-Pearson limits of both rates, Bonferroni-corrected over all
  thresholds; the largest epsilon they prove is returned (Jagielski et al.
  2020, arXiv 2006.07709).

  A canary inserted r times speaks about r copies of one utterance; divide by r
  for the group-privacy epsilon of one. All canaries share one training run and
  are taken as independent: an estimate for a run, not a certificate.

  Args:
    scores: Array [n] of inserted canaries' scores.
    holdout_scores: Array [N] of hold-out scores.
    delta: The delta of the guarantee tested, in [0, 1); default 0.
    confidence: Confidence of the bound, default 0.95.

  Returns:
    A float >= 0; 0 means that nothing is proved.

  Raises:
    ValueError: If scores are NaN or empty, or delta or confidence is out of
      range.
  """
  inserted = np.sort(checks.as_scores("scores", scores))
  holdout = np.sort(checks.as_scores("holdout_scores", holdout_scores))
  delta = checks.as_fraction("delta", delta, closed=True)
  confidence = checks.as_fraction("confidence", confidence)
  n, size = inserted.size, holdout.size
  places = 2 ** np.arange(int(np.log2(size)) + 1)
  tail = (1 - confidence) / (2 * places.size)
  found = np.searchsorted(inserted, holdout[places - 1], side="left")
  # P(hold-out < its k-th smallest score) is at most a Beta(k, N + 1 - k)
  # variable: the Clopper-Pearson limit for k - 1 false alarms of N.
  fpr_high = scipy.stats.beta.ppf(1 - tail, places, size - places + 1)
  tpr_low = np.where(
    found > 0, scipy.stats.beta.ppf(tail, found, n - found + 1), 0.0
  )
  with np.errstate(divide="ignore", invalid="ignore"):
    hits = np.log((tpr_low - delta) / fpr_high)
    misses = np.log((1 - fpr_high - delta) / (1 - tpr_low))
  proved = np.concatenate([hits, misses])
  proved = proved[np.isfinite(proved)]
  return float(max(0.0, proved.max(initial=0.0)))

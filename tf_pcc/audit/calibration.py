"""Attacks that know how hard a canary is: scores against reference runs'.

A low loss may mean that a canary was trained on, or that it is easy. Reference
runs, in which the canary was out, tell which. All functions here return scores
again, lower for more memorized, so `membership` takes them as it takes losses.
"""

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

from tf_pcc.audit import checks

# Below this many reference runs a canary's own deviation is too rough: of 8
# draws it is off by a quarter. Then all canaries share one.
OWN_VARIANCE_FROM = 8


def difference(scores: ArrayLike, references: ArrayLike) -> np.ndarray:
  """Each score minus its mean over the reference runs.

  Watson et al. 2022, "On the Importance of Difficulty Calibration in Membership
  Inference Attacks" (arXiv 2111.08440).

  Args:
    scores: Array [n], one a canary.
    references: Array [R, n], the same canaries' scores in R runs; NaN where the
      canary was in that run. Infinite ones count as NaN.

  Returns:
    Array [n] float64; lower means more memorized.

  Raises:
    ValueError: If shapes do not match, a score is NaN, or a canary was out of
      no reference run.

  Example:

  >>> difference([1.0, 3.0], [[2.0, 3.0], [4.0, np.nan]]).tolist()
  [-2.0, 0.0]
  """
  scores, known = _checked(scores, references)
  return scores - np.nanmean(known, axis=0)


def lira(scores: ArrayLike, references: ArrayLike) -> np.ndarray:
  """The offline likelihood-ratio attack of Carlini et al. 2022.

  "Membership Inference Attacks From First Principles" (arXiv 2112.03570),
  section 5.3: a Gaussian is fitted to a canary's scores in the runs without it,
  and the score's place in it is the test statistic, one-sided. Where a canary
  has fewer than 8 such runs the deviation is pooled over all canaries, as the
  paper does with few runs.

  Args:
    scores: Array [n], one a canary. The paper scales probabilities of classes
      by their logit; a loss in nats needs no such scaling.
    references: As in `difference`; two runs at least without some canary.

  Returns:
    Array [n] float64 of standard scores: `scipy.stats.norm.cdf` of it is the
    chance of so low a score without the canary. Lower means more memorized.

  Raises:
    ValueError: If `difference` refuses the scores, all reference runs score
      alike, or no canary was out of two.

  Example:

  >>> lira([0.0, 2.0], [[1.0, 2.0], [3.0, 4.0]]).round(3).tolist()
  [-1.414, -0.707]
  """
  scores, known = _checked(scores, references)
  runs = np.sum(~np.isnan(known), axis=0)
  mean = np.nanmean(known, axis=0)
  squares = np.nansum((known - mean) ** 2, axis=0)
  if not squares.sum() > 0:
    raise ValueError(
      "references must hold two runs without some canary that score it "
      "differently, to fit a Gaussian to them: give more runs, of other seeds. "
      f"Received: {len(known)} runs, {runs.max()} without the same canary"
    )
  pooled = squares.sum() / np.sum(runs - 1)
  own = (runs >= OWN_VARIANCE_FROM) & (squares > 0)
  variance = np.where(own, squares / np.maximum(runs - 1, 1), pooled)
  return (scores - mean) / np.sqrt(variance)


def rmia(
  losses: ArrayLike,
  references: ArrayLike,
  population: ArrayLike,
  population_references: ArrayLike,
  gamma: float = 1.0,
  offline: float = 1.0,
) -> np.ndarray:
  """The relative attack of Zarifzadeh, Liu and Shokri 2024.

  "Low-Cost High-Power Membership Inference Attacks" (arXiv 2312.03262): with
  p(x) the likelihood of x in the audited run over its mean in reference runs, a
  canary is a member as far as p(x) / p(z) >= gamma for many z of a population
  that was not trained on. Likelihoods are exp(-loss), a token's in geometric
  mean.

  Args:
    losses: Array [n], nats per token.
    references: Array [R, n], as in `difference`.
    population: Array [N] of losses of z, in the audited run.
    population_references: Array [R, N] of them in the reference runs.
    gamma: The ratio to reach, > 0; default 1.
    offline: The paper's a in [0, 1]: the mean likelihood is taken as
      ((1 + a) out + 1 - a) / 2 of that without the canary. Default 1: as it is.

  Returns:
    Array [n] float64: one minus the share of the population, in [0, 1]; lower
    means more memorized.

  Raises:
    ValueError: If `difference` refuses the scores, or gamma or offline is out
      of range.

  Example:

  >>> rmia([0.0, 2.0], [[2.0, 2.0]], [1.0, 2.0], [[1.5, 1.0]]).tolist()
  [0.0, 0.5]
  """
  if not gamma > 0 or not 0 <= offline <= 1:
    raise ValueError(
      "gamma must be above 0 and offline in [0, 1]. "
      f"Received: gamma={gamma!r}, offline={offline!r}"
    )

  def log_ratio(scores, known):
    scores, known = _checked(scores, known)
    there = ~np.isnan(known)
    mean = scipy.special.logsumexp(
      np.where(there, -known, -np.inf), axis=0
    ) - np.log(there.sum(axis=0))
    # log of ((1 + a) out + 1 - a) / 2, without leaving the log domain.
    parts = [mean + np.log((1 + offline) / 2), np.zeros_like(mean)]
    weights = [np.ones_like(mean), np.full_like(mean, (1 - offline) / 2)]
    return -scores - scipy.special.logsumexp(parts, axis=0, b=weights)

  mine = log_ratio(losses, references)
  others = np.sort(log_ratio(population, population_references))
  beaten = np.searchsorted(others, mine - np.log(gamma), side="right")
  return 1 - beaten / others.size


def _checked(scores, references):
  """Scores and the known ones of references, [R, n] with NaN elsewhere."""
  scores = checks.as_scores("scores", scores)
  known = np.array(references, np.float64, ndmin=2)
  if known.shape[1:] != scores.shape:
    raise ValueError(
      "references must be [runs, canaries]. Received: references of shape "
      f"{known.shape} for {scores.size} scores"
    )
  known[~np.isfinite(known)] = np.nan
  runs = np.sum(~np.isnan(known), axis=0)
  if not runs.all():
    raise ValueError(
      "references must hold at least one run without each canary: give more "
      "runs, with other coins or without the plan's canaries. Received: none "
      f"without canary number {int(runs.argmin())}"
    )
  return scores, known

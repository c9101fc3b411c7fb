"""Membership of speakers: was anything that this speaker said trained on?

Inserted speakers gave all of their utterances to the training, held-out ones
none. A speaker's score is the mean, or the lowest, of the scores of their
utterances (Teixeira et al. 2024, "Improving Membership Inference in ASR Model
Auditing with Perturbed Loss Features", arXiv 2405.01207, audits speakers beside
utterances). Utterances of one speaker are alike, so intervals resample
speakers, never utterances.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tf_pcc.audit import bootstrap, checks, membership

AGGREGATES = ("mean", "lowest")
# One false alarm in ten: a hundred speakers held out are rarely there for 1%.
FPR = 0.1


def by_speaker(
  scores: ArrayLike, speakers: Sequence[str], aggregate: str = "mean"
) -> tuple[list[str], np.ndarray]:
  """One score a speaker.

  Args:
    scores: Array [n], one an utterance; lower means more memorized.
    speakers: Sequence of n names.
    aggregate: "mean" (default), or "lowest", which one utterance that was
      learnt by heart decides; speakers with more utterances have lower ones.

  Returns:
    (names in order of appearance, float64 array of as many scores).

  Raises:
    ValueError: If numbers are unequal, a score is NaN, or the aggregate is
      unknown.

  Example:

  >>> names, found = by_speaker([1.0, 5.0, 3.0], ["ann", "bob", "ann"])
  >>> names, found.tolist()
  (['ann', 'bob'], [2.0, 5.0])
  """
  if aggregate not in AGGREGATES:
    raise ValueError(
      f"aggregate must be one of {AGGREGATES}. Received: {aggregate=!r}"
    )
  scores = checks.as_scores("scores", scores)
  names, codes = _codes(scores, speakers)
  if aggregate == "lowest":
    found = np.full(len(names), np.inf)
    np.minimum.at(found, codes, scores)
    return names, found
  totals = np.bincount(codes, weights=scores)
  return names, totals / np.bincount(codes)


def speaker_membership(
  scores: ArrayLike,
  speakers: Sequence[str],
  holdout_scores: ArrayLike,
  holdout_speakers: Sequence[str],
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int = 0,
) -> dict[str, Any]:
  """Can inserted speakers be told from held-out ones?

  Args:
    scores: Array [n] of the inserted speakers' utterances; lower means more
      memorized.
    speakers: Sequence of n names.
    holdout_scores: Array [N] of the held-out speakers' utterances.
    holdout_speakers: Sequence of N names.
    resamples: Number of bootstrap draws.
    confidence: Coverage of the intervals, default 0.95.
    seed: Integer for the bootstrap.

  Returns:
    A dict of JSON values: inserted and holdout, the numbers of speakers;
    utterances, how many each has on average; for "mean" and "lowest" a dict of
    auc and tpr_at_fpr_0.1, each {estimate, low, high}; utterance_auc, the AUC
    of single utterances, whose interval resamples speakers.

  Raises:
    ValueError: If there are fewer than 10 speakers inserted or held out, one is
      both, scores are NaN, or numbers are unequal.
  """
  scores = checks.as_scores("scores", scores)
  holdout_scores = checks.as_scores("holdout_scores", holdout_scores)
  if wrong := refusal(speakers, holdout_speakers):
    raise ValueError(wrong)
  inserted, holdout = set(speakers), set(holdout_speakers)
  options = {"resamples": resamples, "confidence": confidence, "seed": seed}
  found: dict[str, Any] = {
    "inserted": len(inserted),
    "holdout": len(holdout),
    "utterances": (scores.size + holdout_scores.size)
    / (len(inserted) + len(holdout)),
  }
  for aggregate in AGGREGATES:
    _, mine = by_speaker(scores, speakers, aggregate)
    _, others = by_speaker(holdout_scores, holdout_speakers, aggregate)
    found[aggregate] = {
      "auc": membership.auc_interval(mine, others, **options)._asdict(),
      f"tpr_at_fpr_{FPR}": membership.tpr_interval(
        mine, others, FPR, **options
      )._asdict(),
    }
  found["utterance_auc"] = clustered_auc_interval(
    scores, speakers, holdout_scores, holdout_speakers, **options
  )._asdict()
  return found


def refusal(
  speakers: Sequence[str], holdout_speakers: Sequence[str]
) -> str | None:
  """Why these speakers cannot be audited, in a sentence; None if they can.

  Args:
    speakers: Names of the inserted utterances' speakers.
    holdout_speakers: Those of the held-out ones.

  Returns:
    str or None.
  """
  inserted, holdout = set(speakers), set(holdout_speakers)
  both = sorted(inserted & holdout)
  if both:
    return (
      "speakers must be inserted or held out, not both: plan with by_speaker. "
      f"Received: {len(both)} speakers on both sides, such as {both[0]!r}"
    )
  least = checks.SMALLEST_SPEAKERS
  if min(len(inserted), len(holdout)) < least:
    return (
      f"speakers: at least {least} must be inserted and {least} held out, or "
      "no figure of speakers means anything; plan with more voices. Received: "
      f"{len(inserted)} inserted, {len(holdout)} held out"
    )
  return None


def clustered_auc_interval(
  scores: ArrayLike,
  speakers: Sequence[str],
  holdout_scores: ArrayLike,
  holdout_speakers: Sequence[str],
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int | np.random.Generator = 0,
) -> bootstrap.Interval:
  """The AUC of utterances with an interval that resamples speakers.

  As `membership.auc_interval`, with Dirichlet weights on speakers in place of
  utterances: half a speaker of the mean size stands at each end of the scale.

  Args:
    scores: Array [n] of inserted utterances.
    speakers: Sequence of n names.
    holdout_scores: Array [N] of held-out utterances.
    holdout_speakers: Sequence of N names.
    resamples: Number of bootstrap draws.
    confidence: Coverage aimed at, default 0.95.
    seed: Integer or numpy Generator.

  Returns:
    bootstrap.Interval.

  Raises:
    ValueError: If scores are NaN or empty, or numbers are unequal.
  """
  scores = checks.as_scores("scores", scores)
  holdout = checks.as_scores("holdout_scores", holdout_scores)
  _, mine = _codes(scores, speakers)
  _, others = _codes(holdout, holdout_speakers)
  sizes, other_sizes = np.bincount(mine), np.bincount(others)
  # Pairs in which the inserted utterance of speaker s scores lower than one of
  # the held-out speaker t, ties half.
  won = np.zeros((sizes.size, other_sizes.size))
  for column in range(other_sizes.size):
    theirs = np.sort(holdout[others == column])
    below, upto = membership.places(scores, theirs)
    pairs = theirs.size - (below + upto) / 2
    won[:, column] = np.bincount(mine, pairs, sizes.size)
  rng = bootstrap.generator(seed)
  weights, low, high = bootstrap.dirichlet_weights(rng, sizes.size, resamples)
  drawn, _, _ = bootstrap.dirichlet_weights(
    rng, other_sizes.size, resamples, ends=0.0
  )
  there = drawn @ other_sizes
  hits = np.einsum("bs,st,bt->b", weights, won, drawn, optimize=True)
  hits += high * sizes.mean() * there
  replicates = hits / ((weights @ sizes + (low + high) * sizes.mean()) * there)
  estimate = won.sum() / (scores.size * holdout.size)
  return bootstrap.percentile_interval(estimate, replicates, confidence)


def _codes(scores, speakers):
  """Names in order of appearance, and each score's number among them."""
  if len(speakers) != scores.size:
    raise ValueError(
      "speakers must hold one name a score. Received: "
      f"{len(speakers)} speakers for {scores.size} scores"
    )
  names = {name: i for i, name in enumerate(dict.fromkeys(speakers))}
  return list(names), np.array([names[name] for name in speakers])

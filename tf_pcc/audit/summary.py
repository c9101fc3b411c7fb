"""The audit's table: memorization for each repetition count, with intervals."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tf_pcc.audit import bootstrap, checks, exposure, membership
from tf_pcc.audit.scoring import CanaryScores

# (key, heading, unit) of the columns of a summary's rows, in reading order.
COLUMNS = (
  ("cer", "CER", "%"),
  ("extraction", "exact match", "%"),
  ("exposure", "exposure", "bits"),
  ("extrapolated_exposure", "extrapolated exposure", "bits"),
  ("auc", "AUC", ""),
  ("tpr_at_fpr_0.01", "TPR at 1% FPR", "%"),
  ("tpr_at_fpr_0.001", "TPR at 0.1% FPR", "%"),
)
_FPRS = (0.01, 0.001)
# An utterance counts as all wrong at most. A recogniser that repeats a word a
# hundred times makes ten errors a character: one such transcript in thirty
# canaries would decide a mean that twenty of them cannot know.
CER_CAP = 1.0


def summarise(
  repetitions: ArrayLike,
  inserted: CanaryScores,
  holdout: CanaryScores,
  score: str | None = None,
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int = 0,
) -> dict[str, Any]:
  """Tabulate what a recogniser memorized, for each repetition count.

  Args:
    repetitions: Array [n] of the inserted canaries' repetition counts, for
      example `plan.repetitions`.
    inserted: CanaryScores of the n inserted canaries, in that order.
    holdout: CanaryScores of the hold-out, at least 20.
    score: "loss" or "cer", what ranks the canaries; default "loss" where both
      have losses, otherwise "cer". Error rates are always reported.
    resamples: Number of bootstrap draws.
    confidence: Coverage of the intervals, default 0.95.
    seed: Integer for the bootstrap.

  Returns:
    A dict of JSON values:
      score, confidence, ceiling (log2 of the hold-out's size, in bits),
      unseen: exposure of canaries never seen, by the hold-out's own scores,
      cer_cap: most errors a character that an utterance counts with, 1,
      holdout: {count, cer, extraction, skew_normal}; skew_normal is the fit
        with its ks_pvalue, or None when the scores allow none,
      rows: one dict a repetition count, then one for all together, with
        repetitions (a count or "all"), count, epsilon_lower_bound, and for each
        key of COLUMNS {estimate, low, high}. CER is errors over characters of
        the row, each utterance capped. extrapolated_exposure is None without a
        fit; it has no interval (low and high are None), since none holds where
        the fit is extrapolated. A TPR is None at a rate below one of N
        hold-outs,
      unresolved: for each key of such a TPR, why there is none.

  Raises:
    ValueError: If the hold-out is below 20, scores are NaN, or numbers unequal.
  """
  repetitions = np.asarray(repetitions)
  if repetitions.shape != (len(inserted.references),):
    raise ValueError(
      "repetitions must hold one count for each inserted canary. Received: "
      f"shape {repetitions.shape} for {len(inserted.references)} canaries"
    )
  if score is None:
    known = inserted.losses is not None and holdout.losses is not None
    score = "loss" if known else "cer"
  scores = checks.as_scores("inserted scores", inserted.by(score))
  reference = checks.as_scores(
    "hold-out scores", holdout.by(score), checks.SMALLEST_HOLDOUT
  )
  fit = _fit_or_none(scores, reference)
  options = {"resamples": resamples, "confidence": confidence, "seed": seed}

  def row(name, members):
    mine = scores[members]
    return {
      "repetitions": name,
      "count": int(mine.size),
      **_errors(inserted, members, options),
      "exposure": _fields(
        exposure.exposure_interval(mine, reference, **options)
      ),
      "extrapolated_exposure": fit
      and {
        "estimate": float(fit.exposure(mine).mean()),
        "low": None,
        "high": None,
      },
      "auc": _fields(membership.auc_interval(mine, reference, **options)),
      **{
        f"tpr_at_fpr_{fpr}": _fields(
          membership.tpr_interval(mine, reference, fpr, **options)
        )
        if membership.resolves(reference.size, fpr)
        else None
        for fpr in _FPRS
      },
      "epsilon_lower_bound": membership.epsilon_lower_bound(
        mine, reference, confidence=confidence
      ),
    }

  everyone = np.ones(reference.size, bool)
  return {
    "score": score,
    "confidence": confidence,
    "ceiling": exposure.ceiling(reference.size),
    "unseen": exposure.unseen_among(reference),
    "cer_cap": CER_CAP,
    "holdout": {
      "count": int(reference.size),
      **_errors(holdout, everyone, options),
      "skew_normal": fit and vars(fit).copy(),
    },
    "rows": [
      row(int(count), repetitions == count) for count in np.unique(repetitions)
    ]
    + [row("all", np.ones(scores.size, bool))],
    "unresolved": {
      f"tpr_at_fpr_{fpr}": f"{reference.size} hold-outs resolve false-positive "
      f"rates in steps of {1 / reference.size:.3g} and say nothing about {fpr}"
      for fpr in _FPRS
      if not membership.resolves(reference.size, fpr)
    },
  }


def _fit_or_none(scores, reference):
  # A hold-out whose error rates are all 1 is a finding, not bad input: ranks
  # still say all there is to say.
  finite = np.all(np.isfinite(reference)) and np.all(np.isfinite(scores))
  if not finite or np.ptp(reference) <= 1e-9 * max(1, abs(reference.mean())):
    return None
  return exposure.fit_skew_normal(reference)


def _errors(scores, members, options):
  characters = scores.characters[members]
  edits = np.minimum(scores.edits[members], CER_CAP * characters)
  return {
    "cer": _fields(
      bootstrap.mean_interval(
        edits, ends=(0.0, CER_CAP), sizes=characters, **options
      )
    ),
    "extraction": _fields(
      bootstrap.mean_interval(scores.exact[members], ends=(0.0, 1.0), **options)
    ),
  }


def _fields(interval):
  return interval._asdict()

"""Reference runs: what other recognisers made of the same canaries.

A reference is an audit.json of a run with other coins, or of one that was not
trained with the plan's canaries at all. Canaries are matched by id and text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_pcc.audit import (
  bootstrap,
  calibration,
  checks,
  membership,
  scoring,
)
from tf_pcc.audit.canaries import CanaryPlan

ATTACKS = ("plain", "difference", "lira", "rmia")
FPR = 0.01


def scores_of(
  audits: Sequence[Mapping[str, Any]],
  names: Sequence[tuple[str, str]],
  score: str,
) -> tuple[np.ndarray, np.ndarray]:
  """Scores of canaries in reference runs: the last checkpoint of each run.

  Args:
    audits: What `reading.read_audit` returned, of format 2 or later.
    names: (id, normalised text) of each canary.
    score: "loss" or "cer".

  Returns:
    scores [R, n] float64, NaN where a run has none of that canary, and
    included [R, n] bool: whether it was trained on there.

  Raises:
    ValueError: If an audit is of format 1, has no such scores, or none of the
      canaries.
  """
  rows = []
  for audit in audits:
    if "canaries" not in audit:
      raise ValueError(
        "references must be audits of format 2 or later, which name their "
        f"canaries: audit {audit['title']!r} again. Received: format="
        f"{audit['format']}"
      )
    last = {entry["run"]: entry for entry in audit["checkpoints"]}
    rows += [_row(audit["canaries"], e, names, score) for e in last.values()]
  if not rows:
    raise ValueError("references must not be empty. Received: references=[]")
  scores, included = (np.stack(part) for part in zip(*rows))
  return scores, included


def _row(canaries, entry, names, score):
  groups = scoring.groups_of(entry)
  values = np.concatenate([group.by(score) for group in groups])
  texts = [text for group in groups for text in group.references]
  places = {(c["id"], t): i for i, (c, t) in enumerate(zip(canaries, texts))}
  found = [places.get(name) for name in names]
  if all(place is None for place in found):
    raise ValueError(
      "references must be audits of the same canaries, with other coins or of "
      "a recogniser that was not trained with them. Received: "
      f"{entry['run']!r}, with none of the {len(names)} canaries"
    )
  seen = not entry.get("unseen", False)
  scores = [np.nan if i is None else values[i] for i in found]
  included = [i is not None and seen and canaries[i]["inserted"] for i in found]
  return np.array(scores), np.array(included)


def calibrated(
  scores: np.ndarray,
  holdout_scores: np.ndarray,
  references: np.ndarray,
  score: str,
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int = 0,
) -> dict[str, Any]:
  """Membership by plain and by calibrated scores, of the same canaries.

  Args:
    scores: Array [n] of the inserted canaries.
    holdout_scores: Array [N].
    references: Array [R, n + N] of both in the reference runs, NaN where the
      canary was in.
    score: "loss" or "cer"; RMIA needs losses.
    resamples: Number of bootstrap draws.
    confidence: Coverage of the intervals, default 0.95.
    seed: Integer for the bootstrap.

  Returns:
    A dict of JSON values: references (the number of runs), canaries and holdout
    (how many were out of a run), rows: a dict for each attack that can be made,
    with attack ("plain", "difference", "lira", "rmia"), auc and
    tpr_at_fpr_0.01, intervals (the latter None below 100 hold-outs); left_out:
    why an attack is not among them, by its name.

  Raises:
    ValueError: If no inserted canary, or fewer than 20 hold-outs, were out of a
      reference run.
  """
  known = np.where(np.isfinite(references), references, np.nan)
  runs = np.sum(~np.isnan(known), axis=0)
  out = runs > 0
  inserted, held_out = out[: scores.size], out[scores.size :]
  if not inserted.any() or held_out.sum() < checks.SMALLEST_HOLDOUT:
    raise ValueError(
      f"references must have at least one inserted canary and "
      f"{checks.SMALLEST_HOLDOUT} held-out ones out of their training: give "
      "runs with other coins, or without the plan's canaries. Received: "
      f"{inserted.sum()} inserted, {held_out.sum()} held out"
    )
  mine, others = scores[inserted], holdout_scores[held_out]
  count = mine.size
  everyone = np.concatenate([mine, others])
  known = known[:, out]
  attacks = {"plain": everyone}
  attacks["difference"] = calibration.difference(everyone, known)
  left_out = {}
  try:
    attacks["lira"] = calibration.lira(everyone, known)
  except ValueError as error:
    left_out["lira"] = str(error)
  if score == "loss":
    shares = calibration.rmia(everyone, known, others, known[:, count:])
    # A hold-out is compared with the others, not with itself, whom it equals.
    beaten = np.rint((1 - shares[count:]) * others.size) - 1
    shares[count:] = 1 - beaten / (others.size - 1)
    attacks["rmia"] = shares
  else:
    left_out["rmia"] = "it needs losses, and the recogniser gives none"
  options = {"resamples": resamples, "confidence": confidence, "seed": seed}
  return {
    "references": len(references),
    "canaries": count,
    "holdout": int(others.size),
    "rows": [
      {
        "attack": name,
        "auc": membership.auc_interval(
          values[:count], values[count:], **options
        )._asdict(),
        f"tpr_at_fpr_{FPR}": membership.tpr_interval(
          values[:count], values[count:], FPR, **options
        )._asdict()
        if membership.resolves(others.size, FPR)
        else None,
      }
      for name, values in attacks.items()
    ],
    "left_out": left_out,
  }


def against(
  plan: CanaryPlan,
  scores: np.ndarray,
  references: tuple[np.ndarray, np.ndarray],
  score: str,
  unseen: bool = False,
  **options: Any,
) -> dict[str, Any]:
  """What reference runs add to an audited checkpoint.

  Args:
    plan: The CanaryPlan of the audited run.
    scores: Array [n] of `plan.all`.
    references: What `scores_of` returned for `plan.all`.
    score: "loss" or "cer".
    unseen: Whether the audited run was not trained with the plan's canaries.
    **options: resamples, confidence and seed, as of `calibrated`.

  Returns:
    A dict of JSON values: calibrated, and counterfactual: a list of dicts of
    repetitions (a count or "all"), count and memorization, the interval of the
    mean over canaries of `counterfactual`.

  Raises:
    ValueError: If `calibrated` refuses the scores, or a reference run is the
      audited one.
  """
  others, included = references
  for row in others:
    if np.array_equal(row, scores):
      raise ValueError(
        "references must be other runs than the audited one, against which it "
        "would look as if it had learnt nothing. Received: a reference run "
        f"whose {row.size} scores are those audited"
      )
  count = len(plan.canaries)
  inside = (np.arange(scores.size) < count) & (not unseen)
  found = counterfactual(
    np.vstack([scores, others]), np.vstack([inside, included])
  )
  times = np.array([c.coin or c.repetitions for c in plan.all])
  known = np.isfinite(found) & (times > 0)
  groups: list[tuple[int | str, np.ndarray]] = [
    (int(t), known & (times == t)) for t in np.unique(times[known])
  ]
  if groups:
    groups.append(("all", known))
  return {
    "calibrated": calibrated(
      scores[:count],
      scores[count:],
      np.where(included, np.nan, others),
      score,
      **options,
    ),
    "counterfactual": [
      {
        "repetitions": name,
        "count": int(members.sum()),
        # NaN, for want of a second canary, is null.
        "memorization": bootstrap.mean_interval(
          found[members], **options
        ).fields(),
      }
      for name, members in groups
    ],
  }


def counterfactual(scores: np.ndarray, included: np.ndarray) -> np.ndarray:
  """Counterfactual memorization: a canary's mean score out minus that in.

  Zhang et al. 2021, "Counterfactual Memorization in Neural Language Models"
  (arXiv 2112.12938), with minus the score as the model's performance: how much
  better a recogniser gets at a canary by being trained on it.

  Args:
    scores: Array [R, n] of R runs; lower is better. NaN where a run has none.
    included: Array [R, n] of bool: whether the run was trained on the canary.

  Returns:
    Array [n] float64, in the score's unit; NaN for a canary that no run was
    trained on, or all were.

  Raises:
    ValueError: If shapes differ.

  Example:

  >>> counterfactual([[1.0, 5.0], [3.0, 2.0]], [[True, False], [False, False]])
  array([ 2., nan])
  """
  scores, included = np.asarray(scores, float), np.asarray(included, bool)
  if scores.shape != included.shape or scores.ndim != 2:
    raise ValueError(
      "scores and included must be [runs, canaries]. Received: scores of "
      f"shape {scores.shape}, included of shape {included.shape}"
    )

  def mean(members):
    members = members & np.isfinite(scores)
    count = members.sum(axis=0)
    total = np.where(members, scores, 0.0).sum(axis=0)
    return np.divide(
      total, count, where=count > 0, out=np.full(total.shape, np.nan)
    )

  return mean(~included) - mean(included)

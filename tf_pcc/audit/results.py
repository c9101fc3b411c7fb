"""What an audit found, as one dict of JSON values: audit.json."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import tf_pcc
from tf_pcc import bars
from tf_pcc.audit import (
  audit_entries,
  bootstrap,
  exchangeability,
  matching,
  one_run,
  reading,
  references,
  scoring,
  speakers,
  summary,
)
from tf_pcc.audit.canaries import CanaryPlan


@dataclasses.dataclass(frozen=True)
class AuditedCheckpoint:
  """A recogniser's scores on the canaries at one point of training.

  Attributes:
    run: Name of the run, unique for (method, seed), for example "pcc seed 1".
    step: Training step; 0 where there is none, as for a SavedModel.
    inserted: CanaryScores of plan.canaries, in that order.
    holdout: CanaryScores of plan.holdout, in that order.
    wer: Word error rate on data without canaries, as a fraction, or None.
    method: Name of the method; default the run's name.
    seed: The run's seed; default 0.
    words: Words of the references behind `wer`; default None, unknown. Known
      of all checkpoints of a run, its error rates are interpolated by their
      logarithms.
    unseen: Whether it was not trained with the plan's canaries, as a reference
      run, or a recogniser before it is fine-tuned; default False.
  """

  run: str
  step: int
  inserted: scoring.CanaryScores
  holdout: scoring.CanaryScores
  wer: float | None = None
  method: str | None = None
  seed: int = 0
  words: int | None = None
  unseen: bool = False


def audit_results(
  plan: CanaryPlan,
  checkpoints: Sequence[AuditedCheckpoint],
  title: str = "Memorization audit",
  notes: Iterable[str] = (),
  baseline: str | None = None,
  figures: Sequence[str] = audit_entries.FIGURES,
  targets: Iterable[float] | None = None,
  noise_masking: Mapping[str, Any] | None = None,
  tables: Iterable[Mapping[str, Any]] = (),
  reference_audits: Sequence[Mapping[str, Any]] = (),
  score: str | None = None,
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int = 0,
  progress: bool = True,
) -> dict[str, Any]:
  """Summarise audited checkpoints and, with a baseline, compare their methods.

  Args:
    plan: The CanaryPlan all runs were trained with.
    checkpoints: Sequence of AuditedCheckpoint.
    title: Heading of the report.
    notes: Sentences printed below it: command, data, hardware, "quick run".
    baseline: Method to compare the others with at matched word error rate and
      at equal steps; None (default): no comparison.
    figures: Figures to compare, each "<cer|exposure|extraction|auc>_<x8|all>".
    targets: Word error rates to compare at; default `compare.common_targets`.
    noise_masking: Optional dict of name -> result of `noise_masking_attack`.
    tables: Further tables: dicts with title, text, headings, rows (cells are
      strings).
    reference_audits: Audits of other runs, from `reading.read_audit`, in which
      canaries were out: with other coins, or of recognisers that were not
      trained with the plan. Their last checkpoints calibrate the scores.
    score: As in `summarise`.
    resamples: Number of bootstrap draws.
    confidence: Coverage of the intervals, default 0.95.
    seed: Integer for the bootstrap.
    progress: Whether to show a progress bar over many checkpoints.

  Returns:
    A dict of JSON values: format, tf_pcc (the package's version), title, notes,
    confidence, plan, canaries (each with id, inserted, repetitions, speaker),
    checkpoints (each with run, method, seed, step, wer, words, summary, scores,
    speakers: what `speaker_membership` returns, None without speakers,
    one_run: what `one_run_rows` returns, None without coins, unseen, and
    against_references: what `references.against` returns, None without),
    comparison (or None), noise_masking, tables. `reading.schema` describes it.

  Raises:
    ValueError: If there are no checkpoints, the number or the texts of scores
      are not the plan's, or `summarise` or `matched_wer` refuses them.
  """
  if not checkpoints:
    raise ValueError(
      "checkpoints must not be empty: there is nothing to report. "
      f"Received: checkpoints={checkpoints!r}"
    )
  split = exchangeability.exchangeability(plan)
  notes = list(notes)
  named = _speakers(plan)
  if named and (refusal := speakers.refusal(*named)):
    notes.append(f"Speakers are not audited: {refusal}.")
    named = None
  options = {"resamples": resamples, "confidence": confidence, "seed": seed}

  @functools.cache
  def references_by(score):
    names = [(c.id, scoring.normalize(c.text)) for c in plan.all]
    return references.scores_of(reference_audits, names, score)

  entries = []
  # Half a second each: a handful needs no bar.
  quiet = not progress or len(checkpoints) < 10
  for checkpoint in bars.make(checkpoints, desc="summarise", disable=quiet):
    _check_scores(plan.canaries, checkpoint.inserted, "inserted", checkpoint)
    _check_scores(plan.holdout, checkpoint.holdout, "holdout", checkpoint)
    wer = checkpoint.wer
    if wer is not None and not 0 <= wer < float("inf"):
      raise ValueError(
        "wer must be a fraction of at least 0, or None where it is unknown. "
        f"Received: wer={wer} of run {checkpoint.run!r} at step "
        f"{checkpoint.step}"
      )
    table = summary.summarise(
      plan.repetitions,
      checkpoint.inserted,
      checkpoint.holdout,
      score=score,
      **options,
    )
    inserted, held_out = (
      group.by(table["score"])
      for group in (checkpoint.inserted, checkpoint.holdout)
    )
    against = None
    if reference_audits:
      against = references.against(
        plan,
        np.concatenate([inserted, held_out]),
        references_by(table["score"]),
        table["score"],
        checkpoint.unseen,
        **options,
      )
    entries.append(
      {
        "run": checkpoint.run,
        "method": checkpoint.method or checkpoint.run,
        "seed": checkpoint.seed,
        "step": checkpoint.step,
        "wer": checkpoint.wer,
        "words": checkpoint.words,
        "summary": table,
        "scores": {
          "repetitions": plan.repetitions.tolist(),
          "inserted": checkpoint.inserted.to_dict(),
          "holdout": checkpoint.holdout.to_dict(),
        },
        "speakers": named
        and speakers.speaker_membership(
          inserted, named[0], held_out, named[1], **options
        ),
        "one_run": one_run.one_run_rows(plan, inserted, held_out, confidence),
        "unseen": checkpoint.unseen,
        "against_references": against,
      }
    )
  if any(checkpoint.unseen for checkpoint in checkpoints):
    notes.append(
      "Not trained with the plan's canaries, which only count as inserted: "
      + ", ".join(sorted({c.run for c in checkpoints if c.unseen}))
      + ". Such figures are what no training gives."
    )
  if split["differs"]:
    notes.append(
      "Inserted and held-out canaries differ before any training, in "
      f"{', '.join(split['differs'])}: what the figures below show may be that "
      "difference and not memorization. Plan both from one generator."
    )
  return {
    "format": reading.FORMAT,
    "tf_pcc": tf_pcc.__version__,
    "title": title,
    "notes": notes,
    "confidence": confidence,
    "plan": {
      "digest": plan.digest(),
      "canaries": len(plan.canaries),
      "holdout": len(plan.holdout),
      "dropped": plan.dropped,
      "exchangeability": split,
      "settings": plan.settings,
    },
    "canaries": [
      {
        "id": canary.id,
        "inserted": canary.repetitions > 0,
        "repetitions": canary.repetitions,
        "speaker": _speaker(canary),
      }
      for canary in plan.all
    ],
    "checkpoints": entries,
    "comparison": baseline
    and _comparison(entries, baseline, figures, targets, confidence),
    "noise_masking": noise_masking,
    "tables": list(tables),
  }


def _speakers(plan):
  """Names of the inserted and of the held-out canaries' speakers, or None."""
  groups = plan.canaries, plan.holdout
  inserted, held_out = ([c.speaker for c in group] for group in groups)
  return None if None in inserted + held_out else (inserted, held_out)


def _speaker(canary):
  name = canary.speaker or canary.voice.get("name")
  return name if isinstance(name, str) else None


def _comparison(entries, baseline, figures, targets, confidence):
  runs = audit_entries.training_runs(entries, figures)
  if targets is None:
    targets = matching.common_targets(runs)

  def both(function, **arguments):
    return [
      row
      for figure in figures
      for row in function(
        runs,
        figure,
        baseline,
        lower_is_less=not figure.startswith("cer"),
        confidence=confidence,
        **arguments,
      )
    ]

  return {
    "baseline": baseline,
    "figures": list(figures),
    "matched_wer": both(matching.matched_wer, targets=targets),
    "matched_steps": both(matching.matched_steps)
    + matching.matched_steps(runs, "wer", baseline, confidence=confidence),
  }


def _check_scores(canaries, scores, name, checkpoint):
  wanted = [canary.text for canary in canaries]
  found = list(scores.references)
  same = len(wanted) == len(found) and all(
    scoring.normalize(text) == reference
    for text, reference in zip(wanted, found)
  )
  if not same:
    raise ValueError(
      f"{name} must hold the scores of the plan's canaries in its order, "
      "scored with the same plan the run was trained with. Received: "
      f"{len(found)} scores for {len(wanted)} canaries in run "
      f"{checkpoint.run!r} at step {checkpoint.step}"
    )

"""Memorization audit: canaries in, exposure out, for any recogniser.

`canary_plan` draws what is inserted and what is held out, `insertion` says
when, `scoring` takes losses and transcripts, `exposure` and `membership`
measure, `summary` puts it in a table with intervals (`bootstrap`), `matching`
sets runs side by side at matched word error rate, `noise_masking` is the
fill-in-the-blank attack, `results` collects, `report` writes audit.json,
scores.csv and report.html, `reading` reads audit.json.

Nothing here imports TensorFlow or Keras. The extra [audit] brings what it needs
beside NumPy, the extra [report] what plots need.
"""

from tf_pcc import extras

try:
  from tf_pcc.audit.bootstrap import Interval, mean_interval
  from tf_pcc.audit.calibration import lira, rmia
  from tf_pcc.audit.canary_plan import Canary, CanaryPlan, drop_unfit, make_plan
  from tf_pcc.audit.coins import flip_coins, unflipped
  from tf_pcc.audit.exposure import (
    SkewNormalFit,
    extrapolated_exposure,
    fit_skew_normal,
    rank_exposure,
  )
  from tf_pcc.audit.insertion import InsertionSchedule, insertion_schedule
  from tf_pcc.audit.matching import Run, matched_steps, matched_wer
  from tf_pcc.audit.membership import (
    auc,
    epsilon_lower_bound,
    roc_curve,
    tpr_at_fpr,
  )
  from tf_pcc.audit.noise_masking import MaskedUtterance, noise_masking_attack
  from tf_pcc.audit.one_run import one_run_epsilon
  from tf_pcc.audit.reading import read_audit, schema
  from tf_pcc.audit.references import counterfactual
  from tf_pcc.audit.report import write_report
  from tf_pcc.audit.results import AuditedCheckpoint, audit_results
  from tf_pcc.audit.scoring import (
    CanaryScores,
    score_transcripts,
    transcribe_in_batches,
  )
  from tf_pcc.audit.speakers import speaker_membership
  from tf_pcc.audit.summary import summarise
except ModuleNotFoundError as error:
  if (error.name or "").startswith("tf_pcc"):
    raise
  raise ImportError(
    extras.missing(error.name or "", "tf_pcc.audit", "audit", error)
  ) from error

__all__ = [
  "AuditedCheckpoint",
  "Canary",
  "CanaryPlan",
  "CanaryScores",
  "InsertionSchedule",
  "Interval",
  "MaskedUtterance",
  "Run",
  "SkewNormalFit",
  "auc",
  "audit_results",
  "counterfactual",
  "drop_unfit",
  "epsilon_lower_bound",
  "extrapolated_exposure",
  "fit_skew_normal",
  "flip_coins",
  "insertion_schedule",
  "lira",
  "make_plan",
  "matched_steps",
  "matched_wer",
  "mean_interval",
  "noise_masking_attack",
  "one_run_epsilon",
  "rank_exposure",
  "read_audit",
  "rmia",
  "roc_curve",
  "schema",
  "speaker_membership",
  "score_transcripts",
  "summarise",
  "transcribe_in_batches",
  "tpr_at_fpr",
  "unflipped",
  "write_report",
]

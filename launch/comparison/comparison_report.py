"""The one report of a comparison's runs, with what they cost."""

import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from launch.comparison import choosing, claims, training_jobs
from launch.comparison.training_jobs import Job
from tf_pcc import audit
from tf_pcc.audit import audit_entries, cells, matching

# What a table's empty cell holds.
_NONE = "–"


def write_report(
  directory: str | os.PathLike,
  jobs: Sequence[Job],
  bounds: Mapping[str, dict[str, Any]],
  baseline: str,
  notes: Sequence[str],
  overwrite: bool = False,
  choices: Mapping[str, Mapping[str, Any]] | None = None,
  family: Sequence[str] = (),
) -> str:
  """Writes the one report of all runs; see `tf_pcc.audit.write_report`.

  Args:
    directory: where to.
    jobs: list of `comparison.Job`, all trained and audited.
    bounds: dict as in bounds.json, of the bounds that were chosen.
    baseline: method the others are compared with.
    notes: list of str.
    overwrite: bool.
    choices: dict as `choice_files.read` gives it; None: nothing was chosen.
    family: methods that the claims were written down for, as of
      `claims.missing`.

  Returns:
    The page's path.

  Raises:
    ValueError: If the runs did not have the same canaries.
  """
  plan = jobs[0].plan()
  others = [j.name for j in jobs if j.plan().digest() != plan.digest()]
  if others:
    raise ValueError(
      "runs must have the same canaries to be compared. Received: "
      f"{jobs[0].name} and {others} differ"
    )
  entries = [entry for job in jobs for entry in job.audited()]
  counts = sorted({canary.repetitions for canary in plan.canaries})
  # What was seen once is hardly remembered, what was repeated most soon is
  # known by heart: each count has its own time to tell methods apart.
  figures = ["exposure_all", "cer_all", "extraction_all"]
  figures += [f"cer_x{count}" for count in counts if count > 1]
  options = {
    "title": "Clipping methods compared: what they memorize",
    "figures": figures,
  }
  try:
    found = audit.audit_results(plan, entries, baseline=baseline, **options)
  except ValueError as error:
    if "pass through" not in str(error):
      raise
    # Too few steps: what there is can still be shown.
    notes = [*notes, f"Not compared at matched word error rate: {error}"]
    found = audit.audit_results(plan, entries, **options)
  found["notes"] = [*notes, *_about(jobs)]
  choices = choices or {}
  best = claims.best_chosen(choices, [job.method for job in jobs], baseline)
  last = claims.last_steps(jobs)
  found["tables"] = claims.tables(last, baseline, best, family)
  if said := claims.in_short(last, baseline, best, family):
    found["claims"] = said
  if found["comparison"]:
    runs = audit_entries.training_runs(found["checkpoints"], figures[:1])
    converged = matching.matched_wer(
      runs, figures[0], baseline, targets=[claims.CONVERGED]
    )
    found["tables"].append(convergence_table(found, figures[0], converged))
  found["tables"].append(_cost_table(jobs))
  if bounds:
    found["tables"].append(_bounds_table(bounds))
  if choices:
    found["tables"].append(choice_table(choices))
  return str(audit.write_report(directory, found, overwrite)[1])


def _about(jobs):
  config = jobs[0].config
  seeds = len({job.seed for job in jobs})
  utterances = jobs[0].summary()["training_utterances"]
  passes = config.steps * config.batch / utterances
  bounds = {j.method: j.config.clipping.bound for j in jobs}
  used = [
    f"{m} {b:g}" for m, b in bounds.items() if m in training_jobs.WITH_BOUND
  ]
  return [
    f"{config.model.name}, seeds of each method: {seeds}, {config.steps} steps "
    f"of {config.batch} utterances on {utterances} utterances: {passes:.2f} "
    f"passes. Bounds: {', '.join(used) or 'none needed'}."
  ]


def _cost_table(jobs):
  seconds = {}
  for job in jobs:
    found = job.summary()
    if found["seconds_per_step"]:
      seconds.setdefault(job.method, []).append(found["seconds_per_step"])
  medians = {m: statistics.median(v) for m, v in seconds.items()}
  reference = medians.get("none")
  rows = []
  for job in {job.method: job for job in jobs}.values():
    config, found = job.config, job.summary()
    cores = found["cores"]
    parts = config.clipping.microbatches
    if job.method == "per_example":
      parts = config.batch // cores
    units = _NONE
    if job.method not in ("none", "batch"):
      units = f"{cores * parts} of {config.batch // (cores * parts)}"
    own = medians.get(job.method)
    rows.append(
      [
        job.method,
        units,
        f"{cores} x {parts if units != _NONE else 1}",
        f"{own:.3f}" if own else _NONE,
        f"{own / reference:.2f}" if own and reference else _NONE,
        f"{found['peak_memory_gb']:.1f}",
      ]
    )
  return {
    "title": "What a step costs",
    "text": "Units are what is clipped on its own, and their utterances; cores "
    "are logical, times the micro-batches of each. Seconds of one step, and "
    "relative to no clipping, which pays for no small units.",
    "headings": [
      "method",
      "units of utterances",
      "cores x micro-batches",
      "s a step",
      "relative to none",
      "peak memory, GB",
    ],
    "rows": rows,
  }


def convergence_table(
  found: dict[str, Any], figure: str, more: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
  """A table of the steps to each matched word error rate.

  Args:
    found: what `tf_pcc.audit.audit_results` gives with a baseline.
    figure: any figure of its comparison.
    more: rows of other targets, as `tf_pcc.audit.matched_wer` gives them.

  Returns:
    dict with title, text, headings and rows.
  """
  baseline = found["comparison"]["baseline"]
  rows = [
    [
      row["method"],
      f"{row['target']:.2%}",
      "not reached"
      if row["step"]["estimate"] is None
      else cells.number(row["step"], 1, 0),
      cells.number(row["step_difference"], 1, 0),
    ]
    for row in (*found["comparison"]["matched_wer"], *more)
    if row["figure"] == figure
  ]
  return {
    "title": "Steps to a word error rate",
    "text": "Steps until the test word error rate is first reached, straight "
    "lines in its logarithm between checkpoints; mean over the seeds that "
    "reach it, with Student's t intervals; differences to "
    f"{baseline} are paired over seeds.",
    "headings": ["method", "word error rate", "steps", f"minus {baseline}"],
    "rows": rows,
  }


def _bounds_table(bounds):
  return {
    "title": "How the bounds were chosen",
    "text": "Short runs of another seed, without canaries; the bound with the "
    "lowest word error rate on the validation set is taken, of equal ones the "
    "largest.",
    "headings": ["method", "bound", "validation WER", "taken"],
    "rows": [
      [method, f"{bound:g}", f"{wer:.2%}", "yes" if b["bound"] == bound else ""]
      for method, b in bounds.items()
      for bound, wer in b["tried"]
    ],
  }


def choice_table(choices: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """A table of what was chosen, and of all that was tried.

  Args:
    choices: dict as `choice_files.read` gives it.

  Returns:
    dict with title, text, headings and rows.
  """
  text = f"{choosing.RULE} Runs without canaries, of other seeds."
  for method, choice in choices.items():
    chosen = ", ".join(f"{f} {v:g}" for f, v in choice["fields"].items())
    text += f" {method}: {chosen}."
    if choice["at_edge"]:
      text += f" Its {', '.join(choice['at_edge'])} had not stopped growing."
  for method, other in training_jobs.CHOSEN_AS.items():
    text += f" {method} takes what was chosen for {other}, but no bound."
  return {
    "title": "How learning rates, beta_2 and bounds were chosen",
    "text": text,
    "headings": [
      "method",
      "line",
      "value",
      "validation WER",
      "mean log",
      "standard error",
      "taken",
    ],
    "rows": [
      [
        method,
        row["line"].rpartition(".")[2],
        f"{row['value']:g}",
        ", ".join(f"{wer:.2%}" for wer in row["wer"]),
        cells.minus(f"{row['score']:.2f}"),
        f"{row['error']:.2f}",
        "yes" if row["taken"] else "",
      ]
      for method, choice in choices.items()
      for row in choice["tried"]
    ],
  }

"""Audits what a recogniser memorized of the canaries it was trained with.

  python -m launch.audit --workdir=runs/desk
  python -m launch.audit --workdir=runs/desk --checkpoints=all --overwrite
  python -m launch.audit --workdir=runs/desk --step=400 --output=audit400
  python -m launch.audit --workdir=runs/desk --saved_model=exported
  python -m launch.audit --plan=runs/desk/canaries.json --output=audit \\
    --transcribe=examples.audit_pocketsphinx:transcribe
  python -m launch.audit --workdir=runs/secrets --mask=noise
  python -m launch.audit --workdir=runs/coins1 --references=runs/coins2

Train with --config.canaries.insert=True first. Writes audit.json, scores.csv,
report.html and plots to DIR/audit. A run's checkpoints are ranked by their loss
on every canary; a SavedModel, and a function `transcribe(waveforms,
sample_rate)` that returns as many strings, by character error rate. Canaries
are played as in training: sped up. --mask hides the secrets of canaries of kind
template and counts how often the run's last checkpoint (or that of --step)
writes them nevertheless. --references names audits of runs in which canaries
were out, by other coins or trained without any of the plan (audited with
--unseen): they tell how hard a canary is.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from launch import cli
from launch.canaries import masking, scores
from launch.canaries import of_run as canaries_
from launch.recognition import functions
from launch.runs import opening
from tf_pcc import audit, files

_WORKDIR = cli.workdir_flag()
_CHECKPOINTS = flags.DEFINE_enum(
  "checkpoints", "last", ("all", "last"), "Which of the run's to audit."
)
_STEP = cli.step_flag()
_SAVED_MODEL = cli.saved_model_flag()
_TRANSCRIBE = flags.DEFINE_string(
  "transcribe", None, "MODULE:FUNCTION to audit instead, any recogniser."
)
_PLAN = flags.DEFINE_string(
  "plan", None, "A canaries.json; default: that of --workdir."
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "Directory of the report; default: WORKDIR/audit."
)
_REFERENCES = flags.DEFINE_list(
  "references",
  [],
  "Runs or audits, with other coins or --unseen, to calibrate the scores by.",
)
_UNSEEN = flags.DEFINE_bool(
  "unseen", False, "It was not trained with the plan's canaries: a reference."
)
_MASK = flags.DEFINE_enum(
  "mask", "none", masking.MASKS, "What to hide the canaries' secrets with."
)
_TEST_UTTERANCES = flags.DEFINE_integer(
  "test_utterances",
  0,
  "With --checkpoints=all: the first so many of the test set give the word "
  "error rates of checkpoints before the last; 0: all of it.",
  lower_bound=0,
)
_OVERWRITE = cli.overwrite_flag()
_BATCH = cli.batch_flag()
_REPORT = ("audit.json", "report.html", "scores.csv")


def run() -> tuple[dict[str, Any], list[Any], str]:
  """Does what the flags say.

  Returns:
    audit.json as a dict, the paths written, and a line about the time that
    scoring the canaries took.

  Raises:
    ValueError: If flags or what they name do not go together.
    FileExistsError: If there is a report already.
  """
  directory, plan = _WORKDIR.value, _PLAN.value
  if not (directory or plan) or (_SAVED_MODEL.value and _TRANSCRIBE.value):
    raise ValueError(
      "--workdir or --plan is needed, and at most one of --saved_model and "
      f"--transcribe. Received: workdir={directory}, plan={plan}, "
      f"saved_model={_SAVED_MODEL.value}, transcribe={_TRANSCRIBE.value}"
    )
  output = _OUTPUT.value or (directory and files.join(directory, "audit"))
  external = _SAVED_MODEL.value or _TRANSCRIBE.value
  if not output or not (directory or external):
    raise ValueError(
      "without --workdir, --output and one of --saved_model and --transcribe "
      f"are needed. Received: output={output}, plan={plan}"
    )
  if external and _MASK.value != "none":
    raise ValueError(
      "--mask needs a run's own checkpoint, which says where a secret is "
      "spoken: leave out --saved_model and --transcribe. Received: "
      f"mask={_MASK.value}, {external}"
    )
  all_of_them = _CHECKPOINTS.value == "all"
  if _STEP.value is not None and (external or all_of_them):
    raise ValueError(
      "--step names one checkpoint of a run: leave out --checkpoints=all, "
      f"--saved_model and --transcribe. Received: step={_STEP.value}"
    )
  existing = [n for n in _REPORT if os.path.exists(os.path.join(output, n))]
  if existing and not _OVERWRITE.value:
    raise FileExistsError(
      f"{output} holds {existing[0]} already; give --overwrite or another "
      "--output"
    )
  if directory and not external:
    opening.require_recogniser(directory)
  canaries = (
    canaries_.load_plan(plan) if plan else canaries_.load(cli.given(_WORKDIR))
  )
  if plan and directory:
    canaries_.require_own(directory, canaries.plan)
  reference_audits = [audit_of(path) for path in _REFERENCES.value]
  attacked, notes_of_attack = None, []
  if _MASK.value != "none":
    attacked, notes_of_attack = masking.attack_run(
      cli.given(_WORKDIR), canaries, _MASK.value, _BATCH.value, _STEP.value
    )
  if external:
    function = (
      functions.saved_model_function(_SAVED_MODEL.value)
      if _SAVED_MODEL.value
      else functions.import_function(cli.given(_TRANSCRIBE))
    )
    entries, notes, seconds = scores.audit_function(
      function, external, canaries, directory, _BATCH.value
    )
  else:
    entries, notes, seconds = scores.audit_run(
      cli.given(_WORKDIR),
      canaries,
      _CHECKPOINTS.value,
      _BATCH.value,
      _STEP.value,
      _TEST_UTTERANCES.value,
    )
  if _UNSEEN.value:
    entries = [dataclasses.replace(entry, unseen=True) for entry in entries]
  notes += notes_of_attack
  notes.append(f"Command: python -m launch.audit {' '.join(sys.argv[1:])}")
  found = audit.audit_results(
    canaries.plan,
    entries,
    notes=notes,
    noise_masking=attacked,
    reference_audits=reference_audits,
  )
  paths = audit.write_report(output, found, _OVERWRITE.value)
  scored = len(canaries.plan.all) * len(entries)
  time = (
    f"{scored} canaries scored in {seconds:.1f} s, "
    f"{scored / max(seconds, 1e-9):.1f} a second"
  )
  return found, paths, time


def audit_of(path: str) -> dict[str, Any]:
  """The audit that --references names.

  Args:
    path: a run's directory, that of an audit, or an audit.json.

  Returns:
    dict as `tf_pcc.audit.read_audit` gives it.

  Raises:
    ValueError: If there is none, or it cannot be read.
  """
  names = (("audit.json",), ("audit", "audit.json"))
  candidates = [path] + [os.path.join(path, *name) for name in names]
  for candidate in candidates:
    if os.path.isfile(candidate):
      return audit.read_audit(candidate)
  raise ValueError(
    "--references must name runs that were audited, or directories of audits: "
    f"run launch.audit for each first. Received: no audit.json in {path}"
  )


def summary(found: dict[str, Any]) -> str:
  """The table of the last checkpoint.

  Args:
    found: content of audit.json.

  Returns:
    Lines of text.
  """
  entry = found["checkpoints"][-1]
  table = entry["summary"]
  wer = "" if entry["wer"] is None else f", test WER {entry['wer']:.1%}"
  # Another toolkit's recogniser has no step.
  step = f", step {entry['step']}" if entry["step"] else ""
  lines = [
    f"{entry['run']}{step}{wer}; {table['score']} ranks, "
    f"exposure at most {table['ceiling']:.2f} bits",
    f"{'times':>8} {'CER':>7} {'exact':>7} {'exposure':>9} {'AUC':>6}",
    f"{'hold-out':>8} {table['holdout']['cer']['estimate']:7.1%} "
    f"{table['holdout']['extraction']['estimate']:7.1%}",
  ]
  lines += [
    f"{row['repetitions']:>8} {row['cer']['estimate']:7.1%} "
    f"{row['extraction']['estimate']:7.1%} {row['exposure']['estimate']:9.2f} "
    f"{row['auc']['estimate']:6.2f}"
    for row in table["rows"]
  ]
  for row in (entry["against_references"] or {"calibrated": {"rows": []}})[
    "calibrated"
  ]["rows"]:
    lines.append(
      f"against reference runs, {row['attack']}: AUC "
      f"{row['auc']['estimate']:.2f} ({row['auc']['low']:.2f} to "
      f"{row['auc']['high']:.2f})"
    )
  for name, result in (found["noise_masking"] or {}).items():
    rates = [
      f"{result[key]['estimate']:.1%} ({result[key]['low']:.1%} to "
      f"{result[key]['high']:.1%})"
      for key in ("exact", "any_secret")
    ]
    lines.append(
      f"secrets behind {result['mask']}, {name}: the true one found in "
      f"{rates[0]}, any in {rates[1]}"
    )
  return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  found, paths, time = run()
  print(summary(found))
  print(paths[1])
  print(time)


if __name__ == "__main__":
  cli.run("launch.audit", main)

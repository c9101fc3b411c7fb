"""Audits what a recogniser memorized of the canaries it was trained with.

  python -m launch.audit --workdir=runs/desk
  python -m launch.audit --workdir=runs/desk --checkpoints=all --overwrite
  python -m launch.audit --workdir=runs/desk --saved_model=exported
  python -m launch.audit --plan=runs/desk/canaries.json --output=audit \
    --transcribe=examples.audit_pocketsphinx:transcribe

Train with --config.canaries.insert=True first. Writes audit.json, report.html
and plots to DIR/audit. A run's checkpoints are ranked by their loss on every
canary; a SavedModel, and a function `transcribe(waveforms, sample_rate)` that
returns as many strings, by character error rate. Canaries are heard as in
training: sped up.
"""

import os
import sys

from absl import flags

from launch import canaries as canaries_
from launch import canary_scores, cli, recognisers, workdir
from tf_pcc import audit

_WORKDIR = cli.workdir_flag()
_CHECKPOINTS = flags.DEFINE_enum(
  "checkpoints", "last", ("all", "last"), "Which of the run's to audit."
)
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
_OVERWRITE = cli.overwrite_flag()
_BATCH = cli.batch_flag()
_REPORT = ("audit.json", "report.html")


def run():
  """Does what the flags say.

  Returns:
    audit.json as a dict, and the paths written.

  Raises:
    ValueError: when flags or what they name do not go together.
    FileExistsError: when there is a report already.
  """
  directory, plan = _WORKDIR.value, _PLAN.value
  if not (directory or plan) or (_SAVED_MODEL.value and _TRANSCRIBE.value):
    raise ValueError(
      "--workdir or --plan is needed, and at most one of --saved_model and "
      f"--transcribe. Received: workdir={directory}, plan={plan}, "
      f"saved_model={_SAVED_MODEL.value}, transcribe={_TRANSCRIBE.value}"
    )
  output = _OUTPUT.value or (directory and workdir.join(directory, "audit"))
  external = _SAVED_MODEL.value or _TRANSCRIBE.value
  if not output or not (directory or external):
    raise ValueError(
      "without --workdir, --output and one of --saved_model and --transcribe "
      f"are needed. Received: output={output}, plan={plan}"
    )
  existing = [n for n in _REPORT if os.path.exists(os.path.join(output, n))]
  if existing and not _OVERWRITE.value:
    raise FileExistsError(
      f"{output} holds {existing[0]} already; give --overwrite or another "
      "--output"
    )
  if directory and not external:
    workdir.require_recogniser(directory)
  canaries = canaries_.load_plan(plan) if plan else canaries_.load(directory)
  if external:
    function = (
      recognisers.saved_model_function(_SAVED_MODEL.value)
      if _SAVED_MODEL.value
      else recognisers.import_function(_TRANSCRIBE.value)
    )
    entries, notes = canary_scores.audit_function(
      function, external, canaries, directory, _BATCH.value
    )
  else:
    entries, notes = canary_scores.audit_run(
      directory, canaries, _CHECKPOINTS.value, _BATCH.value
    )
  notes.append(f"Command: python -m launch.audit {' '.join(sys.argv[1:])}")
  found = audit.audit_results(canaries.plan, entries, notes=notes)
  return found, audit.write_report(output, found, _OVERWRITE.value)


def summary(found):
  """The last checkpoint's table in words."""
  entry = found["checkpoints"][-1]
  table = entry["summary"]
  wer = "" if entry["wer"] is None else f", test WER {entry['wer']:.1%}"
  lines = [
    f"{entry['run']}, step {entry['step']}{wer}; {table['score']} ranks, "
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
  return "\n".join(lines)


def main(arguments):
  cli.no_arguments(arguments)
  found, paths = run()
  print(summary(found))
  print(paths[1])


if __name__ == "__main__":
  cli.run("launch.audit", main)

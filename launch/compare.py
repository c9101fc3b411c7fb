"""Trains clipping methods side by side and compares what they memorize.

  python -m launch.compare --config=launch/configs/desk_memorization.py \\
    --methods=none,batch,pcc,apcc --seeds=3 --workdir=runs/memorization
  python -m launch.compare --config=launch/configs/desk_memorization.py \\
    --quick --workdir=runs/quick

Every method and seed is trained and audited in processes of its own, as many at
a time as there are CPU cores for (--parallel); after an interruption the same
command continues; a directory that holds runs of other settings is refused.
DIR/report/report.html shows word error rate and memorization over steps,
memorization at matched word error rate (paired over seeds) and what a step
costs; DIR/runs/METHOD-SEED is a run's --workdir, DIR/choice.json says what
--choose has chosen, DIR/bounds.json what --choose_bound has.

  python -m launch.compare --config=launch/configs/desk_claims.py --choose \\
    --until=decided --workdir=runs/claims

A config's file may hold dicts of field: value that go over the config:
METHODS[method] for one method, QUICK for --quick, CHOICE for the runs that
choose out of GRID (--choose: field to values; see
launch/comparison/choosing.py) or BOUNDS (--choose_bound); SEEDS_OF_CHOICE says
how many seeds try each value. FAMILY names the methods that claims are about:
what is not run yet is corrected for all the same. AUDIT is a list of more flags
of launch.audit. Methods that clip no core get no micro-batches.
"""

import os
import platform
import shlex
import signal
import sys
from collections.abc import Sequence

import tensorflow as tf
from absl import flags
from ml_collections import config_flags

from launch import cli
from launch.comparison import (
  bound_files,
  choice_files,
  claims,
  comparison_report,
  looks,
  processes,
  training_jobs,
)
from launch.comparison import choices as choices_
from launch.comparison.progress import Progress, task
from launch.comparison.training_jobs import Settings
from launch.runs import datasets, experiment
from tf_pcc import locks
from tf_pcc.audit import sequential

_CONFIG = cli.config_flag()
_WORKDIR = cli.workdir_flag()
_METHODS = flags.DEFINE_list(
  "methods", list(experiment.METHODS), "Values of clipping.method."
)
_SEEDS = flags.DEFINE_integer(
  "seeds", 3, "Runs of each method; config.seed is the first.", lower_bound=1
)
_UNTIL = flags.DEFINE_string(
  "until",
  None,
  "Instead of --seeds: goes on seed by seed to so many, or (decided) until all "
  "claims are decided, which is looked at with 5 and with 10 seeds. Verdicts "
  "are printed at each look; an earlier look's report is replaced.",
)
_BASELINE = flags.DEFINE_string(
  "baseline", None, "Method to compare with; default: batch, or the first."
)
_CHOOSE = flags.DEFINE_bool(
  "choose",
  False,
  "Choose learning rate, beta_2 and bound of each method that has them out of "
  "the config's GRID, by validation WER of runs without canaries, of other "
  "seeds; a line of the grid whose edge wins grows. apcc and running take "
  "learning rate and beta_2 of batch.",
)
_CHOOSE_BOUND = flags.DEFINE_bool(
  "choose_bound",
  False,
  "Choose the bound of each method that has one: the one of BOUNDS with the "
  "lowest validation WER in a short run without canaries, of another seed. "
  "Otherwise clipping.bound of the config is used.",
)
_QUICK = flags.DEFINE_bool(
  "quick",
  False,
  "QUICK numbers and at most two seeds: to see how it works in ten minutes.",
)
_PARALLEL = flags.DEFINE_integer(
  "parallel",
  None,
  "Runs at a time, each on its share of the CPU cores; default: as many as get "
  "config.cores CPU cores each, 1 where there is a GPU. Each takes the memory "
  "of a whole training run.",
  lower_bound=1,
)
_OVERWRITE = cli.overwrite_flag()
_QUICK_SEEDS = 2


def _parallel(config):
  if _PARALLEL.value:
    return _PARALLEL.value
  if tf.config.list_physical_devices("GPU"):
    return 1
  return max(1, len(processes.available_cpus()) // config.cores)


def run() -> str:
  """Does what the flags say.

  Returns:
    The report's path.

  Raises:
    ValueError: If a flag or a field is out of range, or a run that is there
      was trained with other settings.
    FileExistsError: If there is a report already.
    processes.ProgramFailed: If a run fails.
  """
  directory = os.path.abspath(cli.given(_WORKDIR))
  unknown = sorted(set(_METHODS.value) - set(experiment.METHODS))
  if unknown or not _METHODS.value:
    raise ValueError(
      f"--methods must be some of {experiment.METHODS}. Received: "
      f"methods={_METHODS.value}"
    )
  methods = list(dict.fromkeys(_METHODS.value))
  baseline = _BASELINE.value or ("batch" if "batch" in methods else methods[0])
  if baseline not in methods:
    raise ValueError(
      f"--baseline must be one of --methods={','.join(methods)}. "
      f"Received: baseline={baseline}"
    )
  report = os.path.join(directory, "report")
  written = os.path.exists(os.path.join(report, "report.html"))
  # --until goes on where an earlier look's report is.
  if written and not (_OVERWRITE.value or _UNTIL.value):
    raise FileExistsError(
      f"{report} holds a report already; give --overwrite to write it again "
      "(finished runs are not trained again) or another --workdir"
    )
  settings = Settings(
    path=config_flags.get_config_filename(flags.FLAGS["config"]),
    config=_CONFIG.value,
    overrides=config_flags.get_override_values(flags.FLAGS["config"]),
    directory=directory,
    quick=_QUICK.value,
  )
  if _CHOOSE.value and _CHOOSE_BOUND.value:
    raise ValueError(
      "--choose chooses the bounds, too: leave out --choose_bound. "
      "Received: choose=True, choose_bound=True"
    )
  bounded = [m for m in methods if m in training_jobs.WITH_BOUND]
  trials = settings.trials(bounded) if _CHOOSE_BOUND.value else {}
  count, until_decided = looks.seeds_wanted(_UNTIL.value, _SEEDS.value)
  if _QUICK.value:
    count = min(count, _QUICK_SEEDS)
  seeds = range(_CONFIG.value.seed, _CONFIG.value.seed + count)
  # The methods in turn for each seed: the first seed can be compared early.
  jobs = [settings.job(m, seed) for seed in seeds for m in methods]
  # Existing results must be of these settings, before hours are spent on more.
  for job in sum(trials.values(), []):
    job.check()
  known = bound_files.read_bounds(directory, trials)
  choices_.with_bounds(
    settings,
    [j for j in jobs if j.method in known or j.method not in trials],
    known,
  )
  choices = {}
  if _CHOOSE.value:
    choices = choice_files.read(directory, settings.grid)
    if set(training_jobs.chosen_methods(methods)) <= set(choices):
      jobs = choices_.with_choices(settings, jobs, choices)
  parallel = _parallel(jobs[0].config)
  training_jobs.require_splits(
    jobs[0].config, _CHOOSE.value or _CHOOSE_BOUND.value
  )
  # Synthetic speech is made once and for all, on all CPU cores.
  datasets.open_splits(jobs[0].config)
  with Progress([*sum(trials.values(), []), *jobs]) as progress:
    bounds = choices_.choose_bounds(directory, trials, progress, parallel)
    if _CHOOSE.value:
      choices = choices_.choose_fields(settings, methods, progress, parallel)
      jobs = choices_.with_choices(settings, jobs, choices)
    else:
      jobs = choices_.with_bounds(settings, jobs, bounds)

    def run_jobs(these):
      processes.run_all(
        [task(job, progress, audit=True) for job in these], parallel
      )

    def verdicts_of(these):
      last = claims.last_steps(these)
      best = claims.best_chosen(choices, methods, baseline)
      reached = sequential.decide(
        claims.endpoints(last, baseline, best),
        missing=claims.missing(last, baseline, best, settings.family),
      )
      return reached[-1] if reached else []

    jobs = looks.run_to_looks(jobs, run_jobs, verdicts_of, until_decided)
  notes = [
    f"Command: python -m launch.compare {shlex.join(sys.argv[1:])}",
    f"Hardware: {os.cpu_count()} CPU cores, {platform.machine()}, "
    f"{platform.system()}; runs at a time: {parallel}. Times are medians over "
    "runs, tracing left out.",
    "Baseline: batch clipping, which is applied to the aggregate, is what most "
    "people call gradient clipping."
    if baseline == "batch"
    else f"Baseline: {baseline}.",
  ]
  if _QUICK.value:
    notes.insert(
      0,
      "QUICK RUN with small numbers: it shows how the comparison works and "
      "proves nothing.",
    )
  return comparison_report.write_report(
    report,
    jobs,
    bounds,
    baseline,
    notes,
    _OVERWRITE.value or bool(_UNTIL.value),
    choices,
    settings.family,
  )


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)

  def interrupt(*_):
    raise KeyboardInterrupt

  signal.signal(signal.SIGTERM, interrupt)
  try:
    with locks.owned(os.path.abspath(cli.given(_WORKDIR)), "--workdir"):
      print(run())
  except processes.ProgramFailed as error:
    sys.exit(f"launch.compare: {error}")


if __name__ == "__main__":
  cli.run("launch.compare", main, required=["workdir"])

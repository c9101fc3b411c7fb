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

  python -m launch.compare --config=launch/configs/desk_claims.py --choose \
    --until=decided --workdir=runs/claims

A config's file may hold dicts of field: value that go over the config:
METHODS[method] for one method, QUICK for --quick, CHOICE for the runs that
choose out of GRID (--choose: field to values; see
launch/comparison/choosing.py) or BOUNDS (--choose_bound); SEEDS_OF_CHOICE says
how many seeds try each value. FAMILY names the methods that claims are about:
what is not run yet is corrected for all the same. AUDIT is a list of more flags
of launch.audit. Methods that clip no core get no micro-batches.
"""

import contextlib
import dataclasses
import itertools
import os
import platform
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import flags
from ml_collections import config_flags

from launch import cli
from launch.comparison import (
  choice_files,
  choosing,
  claims,
  comparison_report,
  processes,
  training_jobs,
)
from launch.comparison.training_jobs import Job, Settings
from launch.runs import datasets, experiment
from tf_pcc import bars, locks
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
  "are printed at each look.",
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


class Progress:
  """One bar over the steps of all runs.

  Args:
    jobs: list of `comparison.Job`.
  """

  def __init__(self, jobs: Iterable[Job]):
    self._lock = threading.Lock()
    self._active = []
    self._done = {}
    self._bar = bars.make(
      total=0,
      unit="step",
      dynamic_ncols=True,
      smoothing=0.05,
    )
    self.add(jobs)

  def add(self, jobs: Iterable[Job]) -> None:
    """Counts more jobs: what --choose tries depends on what it has found.

    Args:
      jobs: list of `comparison.Job`; those it has already count once.
    """
    with self._lock:
      new = {j.directory: j for j in jobs if j.directory not in self._done}
      self._done |= {name: job.step() for name, job in new.items()}
      self._bar.total += sum(job.config.steps for job in new.values())
      self._bar.initial += (done := sum(self._done[name] for name in new))
      self._bar.update(done)

  def look(self, job: Job) -> None:
    """Updates the bar by a job's last step.

    Args:
      job: `Job` that is running or done.
    """
    step = job.step()
    with self._lock:
      self._bar.update(step - self._done[job.directory])
      self._done[job.directory] = step

  @contextlib.contextmanager
  def doing(self, what: str) -> Iterator[None]:
    """Shows what is going on in front of the bar, for the time of the context.

    Args:
      what: a few words.

    Yields:
      Nothing.
    """
    self._say(self._active.append, what)
    try:
      yield
    finally:
      self._say(self._active.remove, what)

  def _say(self, change, what):
    with self._lock:
      change(what)
      self._bar.set_description(
        ", ".join(self._active), refresh=bars.on_terminal()
      )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._bar.close()


def choose_bounds(
  directory: str | os.PathLike,
  plan: Mapping[str, Sequence[Job]],
  progress: Progress,
  parallel: int = 1,
) -> dict[str, dict[str, Any]]:
  """The bound of each method that has one, by validation error.

  Args:
    directory: the comparison's.
    plan: dict from method to a list of `comparison.Job`, one for each bound.
    progress: `Progress`.
    parallel: int, runs at a time.

  Returns:
    dict as in DIR/bounds.json: method to {"bound": float, "tried": [[bound,
    validation WER], ...]}. Of equal ones the largest bound is taken, which
    clips least.

  Raises:
    ValueError: If a bound was chosen among others than those of `plan`.
  """
  result = training_jobs.read_bounds(directory, plan)
  plan = {method: jobs for method, jobs in plan.items() if method not in result}
  processes.run_all(
    [_task(job, progress) for jobs in plan.values() for job in jobs], parallel
  )
  for method, jobs in plan.items():
    tried = [
      [job.config.clipping.bound, (job.summary() or {})["validation_wer"]]
      for job in jobs
    ]
    bound, _ = min(tried, key=lambda pair: (pair[1], -pair[0]))
    result[method] = {"bound": bound, "tried": tried}
  if plan:
    training_jobs.write_bounds(directory, result)
  return result


def choose_fields(
  settings: Settings,
  methods: Iterable[str],
  progress: Progress,
  parallel: int = 1,
) -> dict[str, dict[str, Any]]:
  """What `choosing.choose` chooses for each method, kept in choice.json.

  Args:
    settings: `training_jobs.Settings`.
    methods: methods to choose for; those that take another's fields stand for
      that one.
    progress: `Progress`.
    parallel: int, runs at a time.

  Returns:
    dict as `choice_files.read` gives it.

  Raises:
    ValueError: If GRID is not that of choice.json, or unfit.
  """
  grid = settings.grid
  known = choice_files.read(settings.directory, grid)

  def evaluate(method):
    def run_trials(trials):
      jobs = [settings.choice_jobs(method, fields) for fields in trials]
      every = [job for of_seeds in jobs for job in of_seeds]
      for job in every:
        job.check()
      progress.add(every)
      processes.run_all([_task(job, progress) for job in every], parallel)
      return [[job.validation() for job in of_seeds] for of_seeds in jobs]

    return run_trials

  for method in training_jobs.chosen_methods(methods):
    if method in known:
      continue
    found = choosing.choose(
      grid,
      settings.start,
      evaluate(method),
      method in training_jobs.WITH_BOUND,
    )
    known[method] = dataclasses.asdict(found)
    choice_files.write(settings.directory, grid, known)
  return known


def _with_bounds(settings, jobs, bounds):
  """The jobs with the bounds chosen; those there already must have them."""
  jobs = [
    settings.job(job.method, job.seed, bounds[job.method]["bound"])
    if job.method in bounds
    else job
    for job in jobs
  ]
  for job in jobs:
    job.check()
  return jobs


def _with_choices(settings, jobs, choices):
  """The jobs with the fields chosen; those there already must have them."""
  jobs = [
    settings.job(
      job.method, job.seed, chosen=training_jobs.fields_for(job.method, choices)
    )
    for job in jobs
  ]
  for job in jobs:
    job.check()
  return jobs


def seeds_wanted(until: str | None, seeds: int) -> tuple[int, bool]:
  """How many seeds --until and --seeds ask for.

  Args:
    until: "decided", a number, or None.
    seeds: of --seeds.

  Returns:
    (seeds at most, whether to stop at the look that decides all claims).

  Raises:
    ValueError: If `until` is neither.
  """
  if until is None:
    return seeds, False
  if until == "decided":
    return sequential.LOOKS[-1].seeds, True
  if not until.isdecimal() or int(until) < 1:
    raise ValueError(
      "--until must be a number of seeds from 1, or decided. "
      f"Received: until={until}"
    )
  return int(until), False


def run_to_looks(
  jobs: Sequence[Job],
  run_jobs: Callable[[Sequence[Job]], None],
  verdicts_of: Callable[[Sequence[Job]], list[sequential.Verdict]],
  until_decided: bool,
) -> list[Job]:
  """Runs jobs seed by seed, and looks at the claims where a look is due.

  Args:
    jobs: all of them, the methods of a seed one after another.
    run_jobs: function that trains and audits jobs.
    verdicts_of: function of the jobs so far to the last look's verdicts.
    until_decided: whether to stop where all are decided.

  Returns:
    The jobs that were run.
  """
  seeds = list(dict.fromkeys(job.seed for job in jobs))
  ends = [look.seeds for look in sequential.LOOKS if look.seeds < len(seeds)]
  for start, end in itertools.pairwise([0, *ends, len(seeds)]):
    run_jobs([job for job in jobs if job.seed in seeds[start:end]])
    done = [job for job in jobs if job.seed in seeds[:end]]
    if end not in [look.seeds for look in sequential.LOOKS]:
      continue
    verdicts = verdicts_of(done)
    if verdicts:
      print("\n".join(claims.lines_of(verdicts)), flush=True)
    if until_decided and verdicts and all(v.decided for v in verdicts):
      return done
  return list(jobs)


def _task(job, progress, audit=False):
  """Training a job, and auditing it, as `processes.run_all` takes it."""

  def do(check, cpus):
    def watch():
      check()
      progress.look(job)

    with progress.doing(job.name):
      job.train(watch, cpus)
    if audit:
      with progress.doing(f"{job.name}, audit"):
        job.audit(check, cpus)

  return do


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
  if written and not _OVERWRITE.value:
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
  count, until_decided = seeds_wanted(_UNTIL.value, _SEEDS.value)
  if _QUICK.value:
    count = min(count, _QUICK_SEEDS)
  seeds = range(_CONFIG.value.seed, _CONFIG.value.seed + count)
  # The methods in turn for each seed: the first seed can be compared early.
  jobs = [settings.job(m, seed) for seed in seeds for m in methods]
  # Existing results must be of these settings, before hours are spent on more.
  for job in sum(trials.values(), []):
    job.check()
  known = training_jobs.read_bounds(directory, trials)
  _with_bounds(
    settings,
    [j for j in jobs if j.method in known or j.method not in trials],
    known,
  )
  choices = {}
  if _CHOOSE.value:
    choices = choice_files.read(directory, settings.grid)
    if set(training_jobs.chosen_methods(methods)) <= set(choices):
      jobs = _with_choices(settings, jobs, choices)
  parallel = _parallel(jobs[0].config)
  training_jobs.require_splits(
    jobs[0].config, _CHOOSE.value or _CHOOSE_BOUND.value
  )
  # Synthetic speech is made once and for all, on all CPU cores.
  datasets.open_splits(jobs[0].config)
  with Progress([*sum(trials.values(), []), *jobs]) as progress:
    bounds = choose_bounds(directory, trials, progress, parallel)
    if _CHOOSE.value:
      choices = choose_fields(settings, methods, progress, parallel)
      jobs = _with_choices(settings, jobs, choices)
    else:
      jobs = _with_bounds(settings, jobs, bounds)

    def run_jobs(these):
      processes.run_all(
        [_task(job, progress, audit=True) for job in these], parallel
      )

    def verdicts_of(these):
      last = claims.last_steps(these)
      best = claims.best_chosen(choices, methods, baseline)
      looks = sequential.decide(
        claims.endpoints(last, baseline, best),
        missing=claims.missing(last, baseline, best, settings.family),
      )
      return looks[-1] if looks else []

    jobs = run_to_looks(jobs, run_jobs, verdicts_of, until_decided)
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
    _OVERWRITE.value,
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

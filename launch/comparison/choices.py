"""Runs that choose: bounds alone, or learning rate, beta_2 and bound."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launch.comparison import (
  bound_files,
  choice_files,
  choosing,
  processes,
  training_jobs,
)
from launch.comparison import progress as progress_
from launch.comparison.progress import Progress
from launch.comparison.training_jobs import Job, Settings


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
  result = bound_files.read_bounds(directory, plan)
  plan = {method: jobs for method, jobs in plan.items() if method not in result}
  processes.run_all(
    [progress_.task(job, progress) for jobs in plan.values() for job in jobs],
    parallel,
  )
  for method, jobs in plan.items():
    tried = [
      [job.config.clipping.bound, (job.summary() or {})["validation_wer"]]
      for job in jobs
    ]
    bound, _ = min(tried, key=lambda pair: (pair[1], -pair[0]))
    result[method] = {"bound": bound, "tried": tried}
  if plan:
    bound_files.write_bounds(directory, result)
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
      every = _checked(job for of_seeds in jobs for job in of_seeds)
      progress.add(every)
      processes.run_all(
        [progress_.task(job, progress) for job in every], parallel
      )
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


def with_bounds(
  settings: Settings,
  jobs: Iterable[Job],
  bounds: Mapping[str, Mapping[str, Any]],
) -> list[Job]:
  """Jobs with the bounds chosen; those there already must have them.

  Args:
    settings: `training_jobs.Settings`.
    jobs: list of `comparison.Job`.
    bounds: of `choose_bounds`.

  Returns:
    List of `comparison.Job`, in order.
  """
  return _checked(
    settings.job(job.method, job.seed, bounds[job.method]["bound"])
    if job.method in bounds
    else job
    for job in jobs
  )


def with_choices(
  settings: Settings,
  jobs: Iterable[Job],
  choices: Mapping[str, Mapping[str, Any]],
) -> list[Job]:
  """Jobs with the fields chosen; those there already must have them.

  Args:
    settings: `training_jobs.Settings`.
    jobs: list of `comparison.Job`.
    choices: of `choose_fields`.

  Returns:
    List of `comparison.Job`, in order.
  """
  return _checked(
    settings.job(
      job.method, job.seed, chosen=training_jobs.fields_for(job.method, choices)
    )
    for job in jobs
  )


def _checked(jobs):
  """A list of jobs, none of whose directories holds another run."""
  jobs = list(jobs)
  for job in jobs:
    job.check()
  return jobs

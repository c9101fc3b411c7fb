"""What a comparison is made of: runs, their settings, the bounds chosen."""

import dataclasses
import functools
import os
import runpy
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import config_dict

from launch.comparison import choosing
from launch.comparison.compared_run import Job
from launch.runs import experiment

# Methods whose clipping.bound counts.
WITH_BOUND = ("batch", "pcc", "per_example")
# Methods for which nothing is chosen: they take the learning rate and beta_2 of
# another.
CHOSEN_AS = {"apcc": "batch", "running": "batch"}
_SEED_OF_TRIALS = 1000
_SEEDS_OF_CHOICE = 2


@dataclasses.dataclass(frozen=True)
class Settings:
  """Where the configs of the runs come from.

  Attributes:
    path: file of the config; it may hold METHODS, QUICK, CHOICE, BOUNDS, GRID,
      FAMILY and AUDIT, as in `launch/compare.py`.
    config: its `ConfigDict`, with the command line's overrides.
    overrides: dict of these, field to value. They go over all others.
    directory: the comparison's.
    quick: bool, whether QUICK counts.
  """

  path: str
  config: config_dict.ConfigDict
  overrides: dict
  directory: str
  quick: bool = False

  @functools.cached_property
  def _module(self):
    # FILE:ARGUMENT, where get_config takes one.
    file = self.path
    if not os.path.exists(file):
      file = file.rpartition(":")[0]
    return runpy.run_path(file)

  @property
  def grid(self) -> dict[str, tuple[float, ...]]:
    """GRID of the config's file, what --choose chooses from.

    Raises:
      ValueError: If the file has none, or `choosing.check_grid` refuses it.
    """
    grid = self._module.get("GRID")
    if not grid:
      raise ValueError(
        "--choose needs a config whose file holds GRID, the values to choose "
        "from: launch/configs/desk_claims.py, for example. "
        f"Received: config={self.path}"
      )
    grid = {name: tuple(map(float, line)) for name, line in grid.items()}
    choosing.check_grid(grid, self.start)
    return grid

  @property
  def family(self) -> tuple[str, ...]:
    """FAMILY of the config's file: the methods its claims are about."""
    return tuple(self._module.get("FAMILY", ()))

  @property
  def start(self) -> dict[str, float]:
    """The config's values of the fields that are chosen."""
    config = self._job("", "", "none", {}, {}).config
    return {
      choosing.RATE: float(config.optimizer.learning_rate),
      choosing.BETA_2: float(config.optimizer.beta_2),
      choosing.BOUND: float(config.clipping.bound),
    }

  def job(
    self,
    method: str,
    seed: int,
    bound: float | None = None,
    chosen: Mapping[str, float] | None = None,
  ) -> Job:
    """The run of a method and a seed.

    Args:
      method: value of clipping.method.
      seed: int.
      bound: its clipping.bound; None: the config's.
      chosen: fields that were chosen, as `Choice.fields`.

    Returns:
      `Job`.
    """
    fields = {"clipping.method": method, "seed": seed, **(chosen or {})}
    if bound is not None:
      fields["clipping.bound"] = float(bound)
    return self._job(f"{method} seed {seed}", "runs", method, {}, fields)

  def choice_jobs(self, method: str, fields: Mapping[str, float]) -> list[Job]:
    """The runs, one a seed, that try fields for a method, without canaries.

    Args:
      method: value of clipping.method.
      fields: as `choosing.Evaluate` gets them: what has no bound clips nothing,
        so it is the run of any method.

    Returns:
      List of `Job`, one a seed.
    """
    if choosing.BOUND not in fields:
      method = "none"
    # optimizer.beta_2 to beta_2.
    words = " ".join(f"{f.rpartition('.')[2]} {fields[f]:g}" for f in fields)
    seeds = self._module.get("SEEDS_OF_CHOICE", _SEEDS_OF_CHOICE)
    return [
      self._job(
        f"{method} {words} seed {seed}",
        "choice",
        method,
        self._module.get("CHOICE", {}),
        {
          "clipping.method": method,
          **fields,
          "seed": seed,
          "canaries.insert": False,
          # What chooses is the last model's error rate.
          "checkpoint_every": self.config.steps,
        },
      )
      for seed in range(
        self.config.seed + _SEED_OF_TRIALS,
        self.config.seed + _SEED_OF_TRIALS + seeds,
      )
    ]

  def trials(self, methods: Iterable[str]) -> dict[str, list[Job]]:
    """The runs that choose each method's bound, without canaries.

    Args:
      methods: names of methods.

    Returns:
      dict from method to a list of `Job`, one for each bound to try.
    """
    result = {}
    for method in methods:
      result[method] = [
        self._job(
          f"{method} bound {bound:g}",
          "bounds",
          method,
          self._module.get("CHOICE", {}),
          {
            "clipping.method": method,
            "clipping.bound": float(bound),
            "seed": self.config.seed + _SEED_OF_TRIALS,
            "canaries.insert": False,
          },
        )
        for bound in self._module.get("BOUNDS", (self.config.clipping.bound,))
      ]
    return result

  def _job(self, name, group, method, choice, fields):
    given = {
      **(self._module.get("QUICK", {}) if self.quick else {}),
      **self._module.get("METHODS", {}).get(method, {}),
      **choice,
      **self.overrides,
      **fields,
    }
    if method in experiment.WITHOUT_CORES:
      given["clipping.microbatches"] = 1
    config = self.config.copy_and_resolve_references()
    config.update_from_flattened_dict(given)
    if group == "runs" and not config.canaries.insert:
      raise ValueError(
        "canaries.insert must be True: without canaries there is no "
        f"memorization to compare. Received: config={self.path}"
      )
    if group == "runs" and config.keep_checkpoints:
      raise ValueError(
        "keep_checkpoints must be 0, all: they are what is compared. "
        f"Received: keep_checkpoints={config.keep_checkpoints}"
      )
    return Job(
      name=name,
      method=method,
      seed=config.seed,
      config=config,
      arguments=(
        f"--config={self.path}",
        *(f"--config.{field}={value}" for field, value in given.items()),
      ),
      directory=os.path.join(self.directory, group, name.replace(" ", "-")),
      audit_arguments=tuple(self._module.get("AUDIT", ())),
    )


def chosen_methods(methods: Iterable[str]) -> list[str]:
  """The methods that something is chosen for, so that others can run.

  Args:
    methods: values of clipping.method that are to run.

  Returns:
    List of values of clipping.method.
  """
  return list(dict.fromkeys(CHOSEN_AS.get(m, m) for m in methods))


def fields_for(
  method: str, choices: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
  """The chosen fields of a method; no bound where it takes another's.

  Args:
    method: value of clipping.method.
    choices: dict as `choice_files.read` gives it.

  Returns:
    dict from field to value; {} where nothing was chosen.
  """
  fields = choices.get(CHOSEN_AS.get(method, method), {}).get("fields", {})
  return {
    name: value
    for name, value in fields.items()
    if name != choosing.BOUND or method in WITH_BOUND
  }


def require_splits(
  config: config_dict.ConfigDict, choose: bool = False
) -> None:
  """Refuses a config without the sets that a comparison reads off.

  Args:
    config: the experiment's `ConfigDict`.
    choose: bool, whether bounds are chosen, on a validation set.

  Raises:
    ValueError: If a set is missing; the field to set is named.
  """
  data = config.data
  records = data.kind == "records"
  for split, why in (
    ("test", "methods are compared at equal word error rates on it"),
    *(
      [("validation", "--choose and --choose_bound choose on it")]
      if choose
      else []
    ),
  ):
    found = data[split] if records else data.utterances.get(split)
    if not found:
      name = f"data.{split}" if records else f"data.utterances.{split}"
      needed = "a directory of records" if records else "a count above 0"
      raise ValueError(
        f"{name} must be {needed}: {why}. Received: {name}={found!r}"
      )

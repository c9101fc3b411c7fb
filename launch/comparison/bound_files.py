"""bounds.json of a comparison: the bounds that --choose_bound has chosen."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from launch.comparison.training_jobs import Job
from tf_pcc import files


def read_bounds(
  directory: str | os.PathLike, trials: Mapping[str, Sequence[Job]]
) -> dict[str, dict[str, Any]]:
  """bounds.json of a comparison, as far as it is about these trials.

  Args:
    directory: the comparison's.
    trials: what `Settings.trials` gives.

  Returns:
    dict as in `write_bounds`; {} where nothing was chosen yet.

  Raises:
    ValueError: If a bound was chosen among others than those of the trials.
  """
  path = os.path.join(directory, "bounds.json")
  found = _bounds(path)
  for method, jobs in trials.items():
    tried = [bound for bound, _ in found.get(method, {}).get("tried", ())]
    now = [job.config.clipping.bound for job in jobs]
    if tried and sorted(tried) != sorted(now):
      raise ValueError(
        f"BOUNDS must be those that the bound of {method} was chosen among: "
        f"{tried}. To choose again, remove {path} and the runs of {method} in "
        f"{os.path.join(directory, 'runs')}, or give another --workdir. "
        f"Received: BOUNDS={now}"
      )
  return {method: found[method] for method in trials if method in found}


def write_bounds(
  directory: str | os.PathLike, bounds: Mapping[str, dict[str, Any]]
) -> None:
  """Adds to bounds.json, which is written whole or not at all.

  Args:
    directory: the comparison's.
    bounds: dict from method to {"bound": float, "tried": [[bound, validation
      WER], ...]}; methods that are not among them are left as they are.
  """
  path = os.path.join(directory, "bounds.json")
  files.write_json(path, {**_bounds(path), **bounds})


def _bounds(path):
  if not os.path.exists(path):
    return {}
  return files.read_json(
    path, "remove it: the bounds are chosen again", dict[str, _Bound]
  )


@dataclasses.dataclass(frozen=True)
class _Bound:
  """The choice of one method in bounds.json."""

  bound: float
  tried: list[tuple[float, float]]

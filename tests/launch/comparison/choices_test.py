"""Runs that choose: what is trained for it, and what is not trained twice."""

import math

from launch.comparison import choices, processes, training_jobs
from launch.comparison import progress as progress_
from launch.comparison.choosing import BETA_2, BOUND, RATE
from launch.configs import desk_claims


class _Progress:
  def __init__(self):
    self.jobs = []

  def add(self, jobs):
    self.jobs += jobs


def test_choosing_goes_on_where_it_was(tmp_path, monkeypatch):
  """The trainer is a fake; what it has trained is not trained again."""
  trained = []

  def run_all(tasks, parallel):
    trained.extend(tasks)

  def validation(job):
    rate = job.config.optimizer.learning_rate
    return 0.1 + abs(math.log(rate / 1.9e-3)), 100

  monkeypatch.setattr(processes, "run_all", run_all)
  monkeypatch.setattr(training_jobs.Job, "validation", validation)
  monkeypatch.setattr(
    progress_, "task", lambda job, progress: (job.name, progress)
  )
  settings, progress = (
    training_jobs.Settings(
      desk_claims.__file__, desk_claims.get_config(), {}, str(tmp_path)
    ),
    _Progress(),
  )
  found = choices.choose_fields(settings, ["none", "apcc"], progress)
  assert set(found) == {"none", "batch"}
  # 2e-3 wins at the edge of the grid, so 4e-3 was tried, too.
  assert found["none"]["fields"] == {RATE: 2e-3, BETA_2: 0.98}
  assert found["batch"]["fields"] == {RATE: 2e-3, BETA_2: 0.98, BOUND: 8.0}
  values = [row["value"] for row in found["none"]["tried"]]
  assert values[:4] == [5e-4, 1e-3, 2e-3, 4e-3]
  assert len(trained) == len(progress.jobs) > 0
  trained.clear()
  again = choices.choose_fields(settings, ["none", "apcc"], progress)
  assert again == found and not trained
  more = choices.choose_fields(settings, ["none", "pcc"], progress)
  assert set(more) == {"none", "batch", "pcc"} and trained

"""One bar over all runs of a comparison, and what it is told by each."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

from launch.comparison.training_jobs import Job
from tf_pcc import bars


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


def task(
  job: Job, progress: Progress, audit: bool = False
) -> Callable[[Callable[[], None], set[int]], None]:
  """Training a job, and auditing it.

  Args:
    job: `comparison.Job`.
    progress: `Progress`.
    audit: bool, whether to audit it.

  Returns:
    Function as `processes.run_all` takes it.
  """

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

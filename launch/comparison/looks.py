"""How many seeds a comparison runs, and when it looks at its claims."""

import itertools
from collections.abc import Callable, Sequence

from launch.comparison import claims
from launch.comparison.training_jobs import Job
from tf_pcc.audit import sequential


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

"""When each canary is inserted: evenly over training, fixed by a seed."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  from tf_pcc.audit.canaries import CanaryPlan


@dataclasses.dataclass(frozen=True)
class InsertionSchedule:
  """Which canary is inserted at which position of training.

  Attributes:
    positions: Array [k] int64, ascending, in [0, total).
    canaries: Array [k] int64, indices into `plan.canaries`.
    total: Number of positions: training steps, or ordinary utterances.
  """

  positions: np.ndarray
  canaries: np.ndarray
  total: int

  def at(self, position: int) -> np.ndarray:
    """The canaries inserted at a position.

    Args:
      position: number of a training example, from 0.

    Returns:
      int64 array [m], indices of canaries; empty for most positions.
    """
    first, last = np.searchsorted(self.positions, [position, position + 1])
    return self.canaries[first:last]

  @property
  def most_at_once(self) -> int:
    """The largest number of canaries at one position."""
    if not self.positions.size:
      return 0
    return int(np.unique(self.positions, return_counts=True)[1].max())

  def __len__(self):
    return len(self.positions)


def insertion_schedule(
  plan: "CanaryPlan", total: int, seed: int = 0
) -> InsertionSchedule:
  """Spread every canary's repetitions evenly over training.

  A canary of r repetitions comes back after total/r positions (rounded down or
  up), from a first place in [0, total/r). First places of canaries with equal r
  are evenly spaced and dealt out at random, so every stretch of training holds
  nearly the same number of canaries. A function of (plan, total, seed): to
  resume at a step, ask for that step.

  Args:
    plan: CanaryPlan.
    total: Positions to spread over: the training steps (a canary then is part
      of that step's batch) or the number of ordinary utterances (it then comes
      before that utterance).
    seed: Integer.

  Returns:
    InsertionSchedule with sum(plan.repetitions) entries; no canary twice at one
    position.

  Raises:
    ValueError: If a canary has more repetitions than there are positions.

  Example:

  >>> from tf_pcc.audit import canary_plan
  >>> plan = canary_plan.make_plan(
  ...   voices=[{"voice": "en-US"}], kind="characters", repetitions=[1, 4]
  ... )
  >>> schedule = insertion_schedule(plan, total=50, seed=1)
  >>> len(schedule)  # 20 canaries once and 20 four times
  100
  >>> [int(plan.repetitions[i]) for i in schedule.at(41)]
  [4]
  """
  repetitions = plan.repetitions
  most = int(repetitions.max(initial=0))
  if total < max(1, most):
    raise ValueError(
      f"total must be at least {max(1, most)}, the largest repetition count: "
      "canaries cannot be spread over fewer positions; train longer or plan "
      f"fewer repetitions. Received: total={total!r}"
    )
  rng = np.random.default_rng(seed)
  positions, canaries = [], []
  for count in np.unique(repetitions):
    members = rng.permutation(np.flatnonzero(repetitions == count))
    phases = (np.arange(members.size) + rng.random()) / members.size
    times = (np.arange(count)[None, :] + phases[:, None]) * (total / count)
    positions.append(np.minimum(times.astype(np.int64), total - 1).ravel())
    canaries.append(np.repeat(members, count))
  if not positions:
    empty = np.zeros(0, np.int64)
    return InsertionSchedule(empty, empty, int(total))
  positions = np.concatenate(positions)
  canaries = np.concatenate(canaries).astype(np.int64)
  order = np.lexsort((canaries, positions))
  return InsertionSchedule(positions[order], canaries[order], int(total))

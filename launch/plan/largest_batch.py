"""The search for the largest batch that fits, in a few compilations."""

import dataclasses
from collections.abc import Callable

from launch.plan import step

# Compilations of one search, the first batch's included.
MOST_PROBES = 6
# A TPU's vectors have eight rows: between multiples nothing is won.
_ROWS = 8
# How near the answer must be to the largest batch, of which it is a part.
_TOLERANCE = 0.02
# Where the search ends if everything fits.
_ENOUGH = 2**20
# How far beyond the largest that fits a guess may go, and where needs are flat.
_FARTHEST, _FARTHEST_FLAT = 64, 4


@dataclasses.dataclass(frozen=True)
class Largest:
  """What a search found.

  Attributes:
    fits: the largest batch that was found to fit, 0 if none was.
    too_large: the smallest batch that was found not to fit, or None if all did.
    is_near: whether no batch between the two is worth a compilation.
  """

  fits: int
  too_large: int | None
  is_near: bool


def largest_batch(
  compiled: Callable[[int], step.Memory], start: int, multiple: int = 1
) -> Largest:
  """Searches for the largest batch that fits.

  Needs grow with the batch in nearly a straight line, so each guess is where
  the line reaches the limit. Where the line misleads, halves of what is left
  decide; where nothing too large is known and needs hardly grow, the guesses go
  ahead in longer and longer steps.

  Args:
    compiled: memory of a batch; called once for each, `MOST_PROBES` times at
      most.
    start: the first guess, divisible by `multiple`.
    multiple: what a batch must be divisible by.

  Returns:
    The batches between which the answer is.
  """
  good, bad = 0, None
  tried: dict[int, step.Memory] = {}
  gaps: list[float] = []
  ahead = 0
  guess = start
  for _ in range(MOST_PROBES):
    tried[guess] = memory = compiled(guess)
    if memory.fits:
      good = max(good, guess)
    else:
      bad = guess if bad is None else min(bad, guess)
    near = good + granule(good, multiple)
    if bad is not None and bad <= near or good >= _ENOUGH:
      return Largest(good, bad, True)
    wanted = _rounded(_where_the_limit_is(tried, good, bad), multiple)
    if bad is None:
      # A line through two batches near each other says little of far ones.
      flat = len(tried) > 1 and wanted >= _FARTHEST * good
      farthest = (_FARTHEST_FLAT if flat else _FARTHEST) * good
      if len(tried) == 1:
        farthest = _ENOUGH
      wanted = _rounded(min(wanted, farthest), multiple)
      # Just beyond the line's answer, which tells most; then farther.
      least = near + (4**ahead - 1) * (near - good)
      ahead = 0 if wanted > least else ahead + 1
      guess = max(wanted, least)
    else:
      gaps.append(bad - good)
      if len(gaps) > 2 and gaps[-1] > gaps[-3] / 2:
        wanted = _rounded((good + bad) / 2, multiple)
      least = near if good else multiple
      guess = min(max(wanted, least), _before(bad, multiple))
      guess = max(guess, good + multiple)
  return Largest(good, bad, False)


def granule(batch: int, multiple: int = 1) -> int:
  """How much larger the next batch is that is worth a try.

  Args:
    batch: utterances.
    multiple: what a batch must be divisible by.

  Returns:
    Below 8 the next that is possible, from 8 on eight, from 400 on some 2% of
    the batch.
  """
  rows = _rows(batch, multiple)
  return max(int(_TOLERANCE * batch) // rows, 1) * rows


def _rounded(batch, multiple):
  batch = int(min(max(batch, 0), 2 * _ENOUGH))
  rows = _rows(batch, multiple)
  return max(batch // rows * rows, multiple)


def _before(batch, multiple):
  """The largest possible batch below one that does not fit."""
  below = _rounded(batch - 1, multiple)
  return below if below < batch else batch - multiple


def _rows(batch, multiple):
  rows = _ROWS if batch >= _ROWS else 1
  return multiple * -(-rows // multiple)


def _where_the_limit_is(tried, good, bad):
  """Where a line through what is known reaches the memory there is."""
  limit = next(iter(tried.values())).available
  points = sorted(tried)
  if good and bad is not None:
    low, high = good, bad
  elif len(points) > 1:
    low, high = points[-2:] if bad is None else points[:2]
  else:
    (batch,) = points
    memory = tried[batch]
    # What does not grow with the batch is known of a program that compiles.
    fixed = memory.needed - (memory.temporaries or memory.needed)
    return (limit - fixed) / (memory.needed - fixed) * batch
  slope = (tried[high].needed - tried[low].needed) / (high - low)
  if slope <= 0:
    return float("inf") if bad is None else (good + bad) / 2
  return low + (limit - tried[low].needed) / slope

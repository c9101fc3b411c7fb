"""The one rule by which a method's learning rate, beta_2 and bound are chosen.

A coordinate search from the config's values. Along each line of the grid every
value is trained with every seed of the choice; the value with the lowest mean
log word error rate on the validation set wins, and where others lie within one
standard error of it, the one nearest to the value the line started from, of
bounds to the config's. While the winner is the first or last of its line, the
line grows by a step. A bound has an end above: infinity, which clips nothing.

The lines, in order: learning rate, beta_2, the learning rate again if beta_2
has moved; then the bound, if the method has one, and the learning rate again if
the bound has moved. Up to the bound nothing is clipped, so the methods share
these runs.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

RATE = "optimizer.learning_rate"
BETA_2 = "optimizer.beta_2"
BOUND = "clipping.bound"
# Steps that a line may grow by, before its edge counts as the end.
_MOST_STEPS = 6
RULE = (
  "Along one line at a time: the lowest mean of log((word errors + 0.5) / "
  "words) on the validation set; of values within one standard error of it the "
  "one nearest to where the line started, of bounds to the config's; a line "
  "whose edge wins grows by a step. Order: learning rate, beta_2, learning "
  "rate if beta_2 moved, bound, learning rate if the bound moved; without "
  "clipping up to the bound."
)

# Fields to (word error rate, words of the references) of each seed.
Evaluate = Callable[
  [Sequence[Mapping[str, float]]], Sequence[Sequence[tuple[float, int]]]
]


@dataclasses.dataclass(frozen=True)
class Choice:
  """What was chosen for a method, and among what.

  Attributes:
    fields: dict from field to value.
    tried: list of dicts: line, value, wer (of each seed), score (mean log word
      error rate), error (its standard error), taken.
    at_edge: list of lines that had not stopped growing when the steps were
      used up.
  """

  fields: dict[str, float]
  tried: list[dict[str, Any]]
  at_edge: list[str]


def choose(
  grid: Mapping[str, Sequence[float]],
  start: Mapping[str, float],
  evaluate: Evaluate,
  has_bound: bool,
) -> Choice:
  """Chooses a method's fields.

  Args:
    grid: dict from RATE, BETA_2 and BOUND to values, ascending; at least three
      each, the start among them. The last bound is infinity.
    start: dict from RATE, BETA_2 and BOUND to the config's values: where the
      lines start, but that of bounds, which only settles ties.
    evaluate: function of a list of dicts of fields. Without a bound they have
      none: that run clips nothing.
    has_bound: Whether the method has one to choose.

  Returns:
    `Choice`.

  Raises:
    ValueError: If the grid is not as above.
  """
  check_grid(grid, start)
  fields = {RATE: float(start[RATE]), BETA_2: float(start[BETA_2])}
  tried, at_edge = [], []

  def search(name, line):
    before = fields[name]
    centre = start[BOUND] if name == BOUND else before
    found = _search(name, line, fields, centre, evaluate)
    tried.extend(found.tried)
    at_edge.extend(found.at_edge)
    fields[name] = found.fields[name]
    return fields[name] != before

  search(RATE, grid[RATE])
  if search(BETA_2, grid[BETA_2]):
    search(RATE, _around(RATE, grid[RATE], fields[RATE]))
  if has_bound:
    fields[BOUND] = math.inf
    if search(BOUND, grid[BOUND]):
      search(RATE, _around(RATE, grid[RATE], fields[RATE]))
  return Choice(fields, tried, at_edge)


def check_grid(
  grid: Mapping[str, Sequence[float]], start: Mapping[str, float]
) -> None:
  """Refuses a grid that `choose` cannot take.

  Args:
    grid: as of `choose`.
    start: as of `choose`.

  Raises:
    ValueError: If it cannot.
  """
  for name in (RATE, BETA_2, BOUND):
    line = tuple(grid.get(name, ()))
    rising = all(a < b for a, b in zip(line, line[1:]))
    if len(line) < 3 or not rising:
      raise ValueError(
        f"GRID must have at least three rising values of {name}. "
        f"Received: GRID[{name!r}]={line}"
      )
    if start[name] not in line:
      raise ValueError(
        f"GRID must have the config's {name} among its values. "
        f"Received: {name}={start[name]}, GRID[{name!r}]={line}"
      )
  if grid[BOUND][-1] != math.inf:
    raise ValueError(
      "GRID must end its bounds with infinity, no clipping. "
      f"Received: GRID[{BOUND!r}]={tuple(grid[BOUND])}"
    )


def log_rate(wer: float, words: int) -> float:
  """log((errors + 0.5) / words): finite where there is no error.

  Args:
    wer: Word errors over words.
    words: Of the references.

  Returns:
    float.
  """
  return math.log(wer + 0.5 / words)


def beyond(name: str, line: Sequence[float], above: bool) -> float | None:
  """The next value of a line, a step beyond its end.

  Args:
    name: RATE, BETA_2 or BOUND.
    line: Values, ascending.
    above: Whether beyond the last; otherwise beyond the first.

  Returns:
    The value: rates, bounds and 1 - beta_2 go on by the ratio of the two values
    at that end. None beyond infinity.
  """
  end, inner = (line[-1], line[-2]) if above else (line[0], line[1])
  if math.isinf(end):
    return None
  if name == BETA_2:
    return _rounded(1 - _rounded((1 - end) ** 2 / (1 - inner)))
  return _rounded(end * end / inner)


def _search(name, line, fields, centre, evaluate):
  """A `Choice` of one line alone; ties go to what is nearest to the centre."""
  line, results, steps = list(line), {}, 0
  while True:
    new = [value for value in line if value not in results]
    found = evaluate([_with(fields, name, value) for value in new])
    results |= dict(zip(new, found))
    scores = np.array(
      [[log_rate(*seed) for seed in results[value]] for value in line]
    )
    error = standard_error(scores)
    best = _nearest(name, line, scores.mean(axis=1), error, centre)
    edge = best in (0, len(line) - 1)
    value = beyond(name, line, above=best > 0) if edge else None
    if value is None or steps == _MOST_STEPS:
      break
    line.insert(len(line) if best else 0, value)
    steps += 1
  tried = [
    {
      "line": name,
      "value": value,
      "wer": [wer for wer, _ in results[value]],
      "score": float(score),
      "error": float(error),
      "taken": index == best,
    }
    for index, (value, score) in enumerate(zip(line, scores.mean(axis=1)))
  ]
  return Choice({name: line[best]}, tried, [name] if value is not None else [])


def standard_error(scores: np.ndarray) -> float:
  """Standard error of the difference of two values' means over the seeds.

  What is left after the means of values and of seeds, pooled over the line.

  Args:
    scores: Array [values, seeds].

  Returns:
    0 of one seed or one value.
  """
  values, seeds = scores.shape
  freedom = (values - 1) * (seeds - 1)
  if not freedom:
    return 0.0
  rest = (
    scores
    - scores.mean(axis=1, keepdims=True)
    - scores.mean(axis=0, keepdims=True)
    + scores.mean()
  )
  return float(np.sqrt(2 * np.sum(rest**2) / freedom / seeds))


def _nearest(name, line, means, error, centre):
  """Index of the winner: of ties the nearest to the centre, then the best."""
  ties = np.flatnonzero(means <= means.min() + error)

  def distance(index):
    return abs(_position(name, line[index]) - _position(name, centre))

  return int(min(ties, key=lambda index: (distance(index), means[index])))


def _position(name, value):
  return math.log(1 - value) if name == BETA_2 else math.log(value)


def _around(name, line, value):
  """Three values about one: its neighbours of the line, or steps beyond."""
  line = sorted({*line, value})
  index = line.index(value)
  if not index:
    line.insert(0, beyond(name, line, above=False))
    index = 1
  if index == len(line) - 1:
    line.append(beyond(name, line, above=True))
  return line[index - 1 : index + 2]


def _with(fields, name, value):
  result = {**fields, name: value}
  if math.isinf(result.get(BOUND, 0.0)):
    del result[BOUND]
  return result


def _rounded(value):
  return float(f"{value:.6g}")

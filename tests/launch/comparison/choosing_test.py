"""The rule that chooses learning rates, beta_2 and bounds."""

import math

import numpy as np
import pytest

from launch.comparison import choosing
from launch.comparison.choosing import BETA_2, BOUND, RATE

GRID = {
  RATE: (5e-4, 1e-3, 2e-3),
  BETA_2: (0.95, 0.98, 0.999),
  BOUND: (2.5, 8.0, 25.0, math.inf),
}
START = {RATE: 1e-3, BETA_2: 0.98, BOUND: 8.0}


class _Trainer:
  """A fake: log word error rates are a bowl around the best fields.

  Args:
    best: dict of fields; a bound of infinity is in no fields.
    width: how far from the best it takes a rate of its own.
    noise: standard deviation of each run.
  """

  def __init__(self, best, width=1.0, noise=0.0):
    self.best, self.width, self.noise = best, width, noise
    self.asked = []
    self.random = np.random.default_rng(0)

  def __call__(self, trials):
    self.asked += trials
    return [[self._seed(t, shift) for shift in (0.0, 0.4)] for t in trials]

  def _seed(self, fields, shift):
    height = -4.0 + shift + self.noise * self.random.normal()
    for name, value in self.best.items():
      given = fields.get(name, 1e4 if name == BOUND else None)
      one, other = (
        math.log(1 - v if name == BETA_2 else v) for v in (given, value)
      )
      height += self.width * (one - other) ** 2
    return math.exp(height), 10**9


def test_the_lowest_inside_the_grid_is_taken():
  trainer = _Trainer({RATE: 1.1e-3, BETA_2: 0.97, BOUND: 7.0})
  found = choosing.choose(GRID, START, trainer, has_bound=True)
  assert found.fields == {RATE: 1e-3, BETA_2: 0.98, BOUND: 8.0}
  assert not found.at_edge
  lines = [row["line"] for row in found.tried]
  assert lines == [RATE] * 3 + [BETA_2] * 3 + [BOUND] * 4 + [RATE] * 3
  taken = [(row["line"], row["value"]) for row in found.tried if row["taken"]]
  assert taken == [(RATE, 1e-3), (BETA_2, 0.98), (BOUND, 8.0), (RATE, 1e-3)]
  # Nothing is clipped up to the bound.
  assert all(BOUND not in t for t in trainer.asked[:6])
  assert [t.get(BOUND) for t in trainer.asked[6:10]] == [2.5, 8.0, 25.0, None]


@pytest.mark.parametrize(
  ("best", "expected"),
  [
    ({RATE: 8e-3}, {RATE: 8e-3}),
    ({RATE: 1.2e-4}, {RATE: 1.25e-4}),
    ({BETA_2: 0.875}, {BETA_2: 0.875}),
    ({BETA_2: 1 - 5e-5}, {BETA_2: 0.99995}),
    ({BOUND: 0.25}, {BOUND: 0.244141}),
  ],
)
def test_a_line_grows_while_its_edge_wins(best, expected):
  all_best = {RATE: 1e-3, BETA_2: 0.98, BOUND: 8.0} | best
  trainer = _Trainer(all_best)
  found = choosing.choose(GRID, START, trainer, has_bound=True)
  assert found.fields == START | expected
  for name in (RATE, BETA_2, BOUND):
    rows = [row for row in found.tried if row["line"] == name]
    # Every line as it was searched: the winner is inside.
    last = rows[-3:] if name == RATE else rows
    assert not last[0]["taken"] and not last[-1]["taken"]


def test_infinity_ends_the_bounds():
  found = choosing.choose(
    GRID, START, _Trainer({RATE: 1e-3, BETA_2: 0.98, BOUND: 1e5}), True
  )
  assert found.fields[BOUND] == math.inf and not found.at_edge
  # The bound has not moved from no clipping: no learning rate again.
  assert found.tried[-1]["line"] == BOUND


def test_a_line_without_an_end_is_named():
  found = choosing.choose(
    GRID, START, _Trainer({RATE: 1e9, BETA_2: 0.98}, width=0.1), False
  )
  assert set(found.at_edge) == {RATE}
  assert BOUND not in found.fields


def test_the_rate_is_looked_at_again_where_beta_2_has_moved():
  trainer = _Trainer({RATE: 1e-3, BETA_2: 0.999})
  found = choosing.choose(GRID, START, trainer, has_bound=False)
  lines = [row["line"] for row in found.tried]
  assert lines.count(RATE) == 6 and lines.count(BETA_2) == 4


def test_ties_go_to_where_the_line_started():
  # Flat: all within the noise.
  for seed in range(5):
    trainer = _Trainer({RATE: 1e-3}, width=0.0, noise=1e-9)
    trainer.random = np.random.default_rng(seed)
    found = choosing._search(
      RATE, GRID[RATE], dict(START), START[RATE], lambda t: [[(0.1, 9)] * 2] * 3
    )
    assert found.fields == {RATE: 1e-3} and len(found.tried) == 3
  flat = choosing.choose(
    GRID, START, lambda t: [[(0.1, 9), (0.2, 9)]] * len(t), has_bound=True
  )
  assert flat.fields == START


def test_a_tie_is_one_standard_error_of_the_difference():
  # The middle is worse by 0.1; seeds differ, values by their own noise.
  scores = np.array([[0.0, 1.0], [0.2, 1.0], [0.4, 1.2]])
  residuals = scores - scores.mean(1)[:, None] - scores.mean(0) + scores.mean()
  variance = np.sum(residuals**2) / 2
  expected = np.sqrt(variance / 2 + variance / 2)
  assert choosing.standard_error(scores) == pytest.approx(expected)
  assert choosing.standard_error(scores[:, :1]) == 0
  # What a seed shifts by makes no error.
  assert choosing.standard_error(
    np.array([[0.0, 5.0], [1.0, 6.0]])
  ) == pytest.approx(0)
  means = np.array([0.0, 0.1, 0.3])
  near = choosing._nearest(RATE, GRID[RATE], means, 0.11, 1e-3)
  assert near == 1
  assert choosing._nearest(RATE, GRID[RATE], means, 0.09, 1e-3) == 0


def test_no_error_has_a_logarithm():
  assert choosing.log_rate(0.0, 100) == pytest.approx(math.log(0.005))
  assert choosing.log_rate(0.1, 10) == pytest.approx(math.log(0.15))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({RATE: (1e-3, 2e-3)}, "at least three rising.*learning_rate"),
    ({BETA_2: (0.98, 0.95, 0.999)}, "rising values of optimizer.beta_2"),
    ({RATE: (1e-4, 5e-4, 2e-3)}, "config's optimizer.learning_rate.*=0.001"),
    ({BOUND: (2.5, 8.0, 25.0)}, "infinity"),
  ],
)
def test_a_grid_is_checked(changes, message):
  with pytest.raises(ValueError, match=message):
    choosing.check_grid(GRID | changes, START)

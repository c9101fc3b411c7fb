"""Insertion schedules: every repetition there, evenly spread, repeatable."""

import collections

import numpy as np
import pytest

from tf_pcc.audit import canary_plan, insertion

VOICES = [{"voice": "en-US"}]
WORDS = ["BANA", "RORI", "LITO", "TULE", "KESU"]


def make_plan(repetitions, per_count=5):
  return canary_plan.make_plan(
    voices=VOICES,
    vocabulary=WORDS,
    repetitions=repetitions,
    canaries_per_count=per_count,
    holdout=20,
  )


@pytest.mark.parametrize("total", [32, 33, 100, 879, 40_000])
def test_all_repetitions_evenly_spread(total):
  plan = make_plan((1, 2, 4, 8, 16, 32))
  schedule = insertion.insertion_schedule(plan, total, seed=3)
  assert len(schedule) == plan.repetitions.sum()
  assert np.all(np.diff(schedule.positions) >= 0)
  assert schedule.positions.min() >= 0
  assert schedule.positions.max() < total
  for index, count in enumerate(plan.repetitions):
    places = schedule.positions[schedule.canaries == index]
    assert len(places) == count
    gaps = np.diff(places)
    assert np.all(np.abs(gaps - total / count) < 1 + 1e-6)
    assert places[0] <= total / count
    assert len(set(places.tolist())) == count


@pytest.mark.parametrize("seed", range(5))
def test_load_is_flat(seed):
  plan = make_plan((1, 2, 4, 8, 16, 32), per_count=20)
  schedule = insertion.insertion_schedule(plan, 880, seed)
  tenths = np.histogram(schedule.positions, bins=10, range=(0, 880))[0]
  assert tenths.sum() == 1260
  # Six groups, each within two of its share.
  assert np.all(np.abs(tenths - 126) <= 12)
  assert schedule.most_at_once <= 126 / 88 + 6


def test_depends_on_plan_total_and_seed_only():
  plan = make_plan((1, 8))
  one = insertion.insertion_schedule(plan, 100, seed=1)
  two = insertion.insertion_schedule(plan, 100, seed=1)
  other = insertion.insertion_schedule(plan, 100, seed=2)
  np.testing.assert_array_equal(one.positions, two.positions)
  np.testing.assert_array_equal(one.canaries, two.canaries)
  assert not np.array_equal(one.canaries, other.canaries) or not np.array_equal(
    one.positions, other.positions
  )


def test_asking_for_a_step_gives_that_step():
  schedule = insertion.insertion_schedule(make_plan((1, 8)), 40, seed=1)
  counted = collections.Counter()
  for step in range(40):
    members = schedule.at(step)
    np.testing.assert_array_equal(
      members, schedule.canaries[schedule.positions == step]
    )
    counted.update(members.tolist())
  expected = dict(enumerate(make_plan((1, 8)).repetitions.tolist()))
  assert counted == expected
  assert schedule.at(41).size == 0


def test_single_insertions_are_not_bound_to_the_start():
  """Over many seeds a canary inserted once is as likely late as early."""
  plan = make_plan((1,), per_count=1)
  places = [
    insertion.insertion_schedule(plan, 1000, seed).positions[0]
    for seed in range(300)
  ]
  assert 440 < np.mean(places) < 560
  assert np.min(places) < 50
  assert np.max(places) > 950


def test_as_many_repetitions_as_positions_is_the_limit():
  plan = make_plan((32,))
  schedule = insertion.insertion_schedule(plan, 32)
  assert schedule.most_at_once == 5
  with pytest.raises(ValueError, match="(?s)at least 32.*Received: total=31"):
    insertion.insertion_schedule(plan, 31)
  with pytest.raises(ValueError, match="total=0"):
    insertion.insertion_schedule(make_plan((1,)), 0)

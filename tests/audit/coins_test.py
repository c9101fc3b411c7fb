"""Coins: fair, recorded in the plan, and the same canaries for every seed."""

import dataclasses

import numpy as np
import pytest

from tests.audit import report_test, speakers_test
from tf_pcc import audit
from tf_pcc.audit import exchangeability


def plan_of(**changes):
  arguments = {
    "voices": [{"name": "en-US"}, {"name": "en-GB"}],
    "vocabulary": report_test.WORDS,
    "repetitions": (8, 1),
    "canaries_per_count": 30,
    "holdout": 20,
  }
  return audit.make_plan(**{**arguments, **changes})


def test_about_half_are_inserted_and_all_is_recorded():
  plan = plan_of()
  flipped = audit.flip_coins(plan, 3)
  assert flipped == audit.flip_coins(plan, 3)
  assert flipped.digest() != audit.flip_coins(plan, 4).digest()
  assert flipped.settings["coin_seed"] == 3
  assert 20 <= len(flipped.canaries) <= 40
  before = {c.id: c for c in plan.all}
  assert {c.id for c in flipped.all} == set(before)
  for canary in flipped.canaries:
    assert canary.coin == canary.repetitions == before[canary.id].repetitions
  assert flipped.holdout[:20] == plan.holdout
  for canary in flipped.holdout[20:]:
    assert canary.repetitions == 0
    assert canary.coin == before[canary.id].repetitions
    assert canary.text == before[canary.id].text


def test_the_coins_are_fair_and_independent():
  plan = plan_of()
  seeds = 400
  inserted = np.array(
    [
      [c.id in {c.id for c in flipped.canaries} for c in plan.canaries]
      for flipped in (audit.flip_coins(plan, seed) for seed in range(seeds))
    ]
  )
  # Five standard errors of a rate of one half.
  assert abs(inserted.mean() - 0.5) < 2.5 / np.sqrt(inserted.size)
  assert np.all(abs(inserted.mean(0) - 0.5) < 2.5 / np.sqrt(seeds))
  pairs = np.corrcoef(inserted.T)[np.triu_indices(60, 1)]
  assert np.abs(pairs).max() < 5 / np.sqrt(seeds)


def test_unflipped_is_the_plan_before():
  letters = {"kind": "characters", "vocabulary": None}
  for changes in ({}, letters, {"repetitions": (4, 2, 16)}):
    plan = plan_of(**changes)
    for seed in range(5):
      assert audit.unflipped(audit.flip_coins(plan, seed)) == plan
    assert audit.unflipped(plan) is plan


def test_a_flipped_plan_survives_its_file_and_fits_everything(tmp_path):
  flipped = audit.flip_coins(plan_of(), 1)
  path = flipped.save(tmp_path / "canaries.json")
  assert audit.CanaryPlan.load(path) == flipped
  schedule = audit.insertion_schedule(flipped, 100)
  assert len(schedule) == flipped.repetitions.sum()
  assert exchangeability.exchangeability(flipped)["differs"] == []


@pytest.mark.parametrize(
  ("group", "change", "message"),
  [
    ("canaries", {"coin": 3}, r"canaries\[0\].coin must be null or the can"),
    ("canaries", {"coin": True}, r"canaries\[0\].coin"),
    ("holdout", {"coin": 0}, r"holdout\[0\].coin must be null or a whole"),
    ("holdout", {"speaker": ""}, r"holdout\[0\].speaker must be null or a"),
    ("canaries", {"speaker": 3}, r"canaries\[0\].speaker"),
  ],
)
def test_a_plan_by_hand_is_checked(group, change, message):
  plan = plan_of()
  first, *rest = getattr(plan, group)
  changed = (dataclasses.replace(first, **change), *rest)
  wrong = dataclasses.replace(plan, **{group: changed})
  with pytest.raises(ValueError, match=message):
    audit.CanaryPlan.from_json(wrong.to_json())


def test_bad_input():
  plan = plan_of()
  with pytest.raises(ValueError, match="neither coins.*coin_seed=1"):
    audit.flip_coins(audit.flip_coins(plan, 1), 2)
  with pytest.raises(ValueError, match="by_speaker=True"):
    audit.flip_coins(speakers_test.plan_of(), 1)
  with pytest.raises(ValueError, match="at least 0. Received: seed=-1"):
    audit.flip_coins(plan, -1)
  one = plan_of(canaries_per_count=1, repetitions=(1,))
  lost = next(
    s for s in range(9) if not np.random.default_rng(s).integers(2, size=1)[0]
  )
  with pytest.raises(ValueError, match="no canary's coin says yes"):
    audit.flip_coins(one, lost)

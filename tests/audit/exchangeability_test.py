"""Broken splits are caught, sound ones are not accused."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from tf_pcc import audit
from tf_pcc.audit import exchangeability

VOICES = [{"voice": name} for name in ("en-US", "en-GB", "fr-FR", "de-DE")]


def plan_of(seed=0, **changes):
  return audit.make_plan(
    voices=VOICES,
    kind="words",
    vocabulary=["A", "BEE", "CLOUD", "DOORWAYS", "EIGHTH", "FOX", "GAUGE"],
    length=3,
    speeds=(2.0, 4.0),
    repetitions=(1, 4),
    canaries_per_count=20,
    holdout=60,
    seed=seed,
    **changes,
  )


def replace(plan, group, **fields):
  changed = tuple(
    dataclasses.replace(canary, **fields) for canary in getattr(plan, group)
  )
  return dataclasses.replace(plan, **{group: changed})


def test_plans_as_drawn_are_sound():
  for seed in range(20):
    found = exchangeability.exchangeability(plan_of(seed))
    assert found["differs"] == []
    assert set(found["p_values"]) == {"characters", "words", "voice", "speed"}


def test_a_text_length_that_tells_is_caught():
  plan = plan_of()
  longer = tuple(
    dataclasses.replace(canary, text=f"{canary.text} AND MORE")
    for canary in plan.canaries
  )
  broken = dataclasses.replace(plan, canaries=longer)
  assert exchangeability.exchangeability(broken)["differs"] == [
    "characters",
    "words",
  ]


@pytest.mark.parametrize(
  ("fields", "name"),
  [({"voice": VOICES[0]}, "voice"), ({"speed": 4.0}, "speed")],
)
@pytest.mark.parametrize("group", ["canaries", "holdout"])
def test_a_voice_or_speed_of_one_group_is_caught(fields, name, group):
  broken = replace(plan_of(), group, **fields)
  assert exchangeability.exchangeability(broken)["differs"] == [name]


def test_two_voices_agree_with_fishers_test():
  """Two by two, the exact p-value is known."""
  plan = replace(plan_of(), "holdout", voice=VOICES[1])
  mixed = tuple(
    dataclasses.replace(canary, voice=VOICES[0 if i < 5 else 1])
    for i, canary in enumerate(plan.canaries)
  )
  plan = dataclasses.replace(plan, canaries=mixed)
  raw = exchangeability._shares(plan, exchangeability._voice)
  exact = scipy.stats.fisher_exact([[5, 35], [0, 60]]).pvalue
  assert raw == pytest.approx(exact, rel=0.4)


def test_it_is_rarely_wrong():
  """Random splits: below 5% in about 5% of cases, corrected, at most."""
  rng = np.random.default_rng(0)
  plan = plan_of()
  everyone, low = np.array(plan.all, dtype=object), 0
  for _ in range(60):
    mixed = rng.permutation(len(everyone))
    split = dataclasses.replace(
      plan,
      canaries=tuple(everyone[mixed[:40]]),
      holdout=tuple(everyone[mixed[40:]]),
    )
    found = exchangeability.exchangeability(split)
    low += min(found["p_values"].values()) < 0.05
  assert low <= 10


def test_holm():
  assert exchangeability.holm([0.5, 0.9]) == [1.0, 1.0]
  assert exchangeability.holm([0.001]) == [0.001]
  adjusted = exchangeability.holm([0.04, 0.001, 0.01])
  assert adjusted == pytest.approx([0.04, 0.003, 0.02])


def test_an_audit_of_a_broken_split_says_so():
  def audited(plan):
    scores = [
      audit.score_transcripts([c.text for c in group], [""] * len(group))
      for group in (plan.canaries, plan.holdout)
    ]
    entry = audit.AuditedCheckpoint("run", 0, *scores)
    return audit.audit_results(plan, [entry], resamples=20)

  sound = audited(plan_of())
  assert (
    sound["notes"] == [] and not sound["plan"]["exchangeability"]["differs"]
  )
  broken = audited(replace(plan_of(), "canaries", voice=VOICES[0]))
  assert broken["plan"]["exchangeability"]["differs"] == ["voice"]
  assert "differ before any training, in voice:" in broken["notes"][0]

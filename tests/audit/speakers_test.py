"""Membership of speakers against naive references, and its intervals."""

import collections
import dataclasses
import json

import numpy as np
import pytest

from tests.audit import report_test
from tf_pcc import audit
from tf_pcc.audit import exchangeability, membership, page, speakers

VOICES = [{"name": "en-US", "pitch": i / 10} for i in range(24)]


def plan_of(**changes):
  arguments = {
    "voices": VOICES,
    "vocabulary": report_test.WORDS,
    "repetitions": (1, 8),
    "canaries_per_count": 24,
    "holdout": 48,
    "by_speaker": True,
  }
  return audit.make_plan(**{**arguments, **changes})


def test_a_speaker_is_on_one_side_only():
  plan = plan_of()
  inserted = collections.Counter(c.speaker for c in plan.canaries)
  held_out = collections.Counter(c.speaker for c in plan.holdout)
  assert not set(inserted) & set(held_out)
  assert len(inserted) == len(held_out) == 12
  assert set(inserted.values()) == set(held_out.values()) == {4}
  voices = {(c.speaker, json.dumps(c.voice)) for c in plan.all}
  assert len(voices) == 24
  other = {c.speaker for c in plan_of(seed=1).canaries}
  assert other != set(inserted)
  # Voices differ by design, all else must not.
  found = exchangeability.exchangeability(plan)
  assert found["differs"] == [] and "voice" not in found["p_values"]


def test_the_split_follows_the_canaries_down_to_ten_speakers():
  few = plan_of(canaries_per_count=3, holdout=200)
  assert len({c.speaker for c in few.holdout}) == 14
  assert len({c.speaker for c in few.canaries}) <= 6
  most = plan_of(canaries_per_count=60, holdout=20)
  assert len({c.speaker for c in most.canaries}) == 14


def test_plans_without_speakers_are_drawn_as_ever():
  plan = plan_of(by_speaker=False)
  assert all(c.speaker is None and c.coin is None for c in plan.all)
  assert "speaker" not in plan.to_json()
  # As version 0.2.0 drew it before plans had speakers.
  assert plan.digest().startswith("ec244649cc8ce600")


@pytest.mark.parametrize(
  ("changes", "received"),
  [
    ({"voices": VOICES[:19]}, "19 voices, 19 different"),
    ({"voices": VOICES + VOICES[:1]}, "25 voices, 24 different"),
  ],
)
def test_too_few_voices(changes, received):
  with pytest.raises(ValueError, match=f"at least 20 different.*{received}"):
    plan_of(**changes)


def naive_auc(mine, others):
  return np.mean([(a < b) + (a == b) / 2 for a in mine for b in others])


def sample(rng, count=12, utterances=6, shift=0.0, spread=1.0):
  names = np.repeat([f"s{i}" for i in range(count)], utterances)
  own = np.repeat(rng.normal(-shift, spread, count), utterances)
  return own + rng.normal(size=own.size), names.tolist()


@pytest.mark.parametrize("ties", [False, True])
def test_figures_agree_with_definitions(ties):
  rng = np.random.default_rng(0)
  scores, names = sample(rng, shift=1.0)
  others, other_names = sample(rng, count=15, utterances=4)
  other_names = [f"h{name}" for name in other_names]
  if ties:
    scores, others = np.round(scores), np.round(others)
  order = rng.permutation(scores.size)
  scores, names = scores[order], [names[i] for i in order]
  found = audit.speaker_membership(scores, names, others, other_names)
  assert (found["inserted"], found["holdout"]) == (12, 15)
  assert found["utterances"] == pytest.approx((72 + 60) / 27)
  for key, function in (("mean", np.mean), ("lowest", np.min)):
    mine, theirs = (
      [function([s for s, n in zip(ss, ns) if n == name]) for name in set(ns)]
      for ss, ns in ((scores, names), (others, other_names))
    )
    auc, tpr = found[key]["auc"], found[key]["tpr_at_fpr_0.1"]
    assert auc["estimate"] == pytest.approx(naive_auc(mine, theirs))
    assert auc["low"] < auc["estimate"] < auc["high"]
    threshold = np.sort(theirs)[1]
    assert tpr["estimate"] == pytest.approx(np.mean(mine < threshold))
  single = found["utterance_auc"]
  assert single["estimate"] == pytest.approx(naive_auc(scores, others))


def test_weights_of_speakers_are_those_of_a_naive_loop():
  """The replicates themselves, from the same draws."""
  rng = np.random.default_rng(3)
  scores, names = sample(rng, count=3, utterances=2)
  others, other_names = sample(rng, count=2, utterances=3)
  found = speakers.clustered_auc_interval(
    scores, names, others, other_names, resamples=40, seed=5
  )
  draws = np.random.default_rng(5)
  weights = draws.standard_exponential((40, 3))
  ends = draws.standard_gamma(0.5, (40, 2))
  other_weights = draws.standard_exponential((40, 2))
  replicates = []
  for w, (low, high), v in zip(weights, ends, other_weights):
    total = hits = 0.0
    for a, name in zip(scores, names):
      for b, other in zip(others, other_names):
        weight = w[int(name[1])] * v[int(other[1])]
        total += weight
        hits += weight * (a < b)
    # An end is half a speaker of two utterances.
    there = sum(v[int(other[1])] for other in other_names)
    hits += 2 * high * there
    total += 2 * (low + high) * there
    replicates.append(hits / total)
  low, high = np.quantile(replicates, [0.025, 0.975])
  assert (found.low, found.high) == pytest.approx(
    (min(low, found.estimate), max(high, found.estimate))
  )


def test_the_interval_holds_where_utterances_alone_would_not():
  """Speakers differ more than what they say: utterances are no sample."""
  rng = np.random.default_rng(1)
  # Of two normals a shift of 1 apart, each of variance 1 + 1.
  truth = 0.6914624612740131
  draws, held, naive = 150, 0, 0
  for _ in range(draws):
    scores, names = sample(rng, count=20, shift=1.0)
    others, other_names = sample(rng, count=20)
    interval = speakers.clustered_auc_interval(
      scores, names, others, other_names, resamples=300, seed=rng
    )
    held += interval.low <= truth <= interval.high
    single = membership.auc_interval(scores, others, 300, seed=rng)
    naive += single.low <= truth <= single.high
  assert held / draws >= 0.91
  assert naive / draws < 0.85


def test_infinite_losses_rank_last():
  scores = np.where(np.arange(24) == 0, np.inf, np.arange(24.0))
  names = [f"s{i // 2}" for i in range(24)]
  holdout = [f"h{i // 2}" for i in range(24)]
  found = audit.speaker_membership(scores, names, np.arange(24.0), holdout)
  assert np.isfinite(found["mean"]["auc"]["estimate"])
  assert speakers.by_speaker(scores, names)[1][0] == np.inf


@pytest.mark.parametrize(
  ("inserted", "held_out", "message"),
  [
    (9, 12, "10 must be inserted.*9 inserted, 12 held out"),
    (12, 9, "12 inserted, 9 held out"),
    (12, 0, "must hold at least 1 scores"),
  ],
)
def test_too_few_speakers(inserted, held_out, message):
  rng = np.random.default_rng(0)
  scores, names = sample(rng, count=inserted)
  others, other_names = sample(rng, count=held_out)
  with pytest.raises(ValueError, match=message):
    audit.speaker_membership(
      scores, names, others, [f"h{n}" for n in other_names]
    )


def test_bad_input():
  rng = np.random.default_rng(0)
  scores, names = sample(rng)
  with pytest.raises(ValueError, match="12 speakers on both.*'s0'"):
    audit.speaker_membership(scores, names, scores, names)
  with pytest.raises(ValueError, match="3 speakers for 72 scores"):
    speakers.by_speaker(scores, names[:3])
  with pytest.raises(ValueError, match="aggregate='best'"):
    speakers.by_speaker(scores, names, "best")


def test_the_report_has_them_and_says_why_not():
  plan = plan_of()
  single = report_test.checkpoint(plan, "pcc", 200, 0.1)
  found = audit.audit_results(plan, [single], resamples=50)
  (entry,) = found["checkpoints"]
  rows = {c["id"]: c["speaker"] for c in found["canaries"]}
  assert rows[plan.canaries[0].id] == plan.canaries[0].speaker
  # Half of every speaker's canaries, those of eight times, were learnt.
  assert entry["speakers"]["lowest"]["auc"]["estimate"] > 0.9
  text = report_test.Page(page.render(found, [])).text
  assert "12 speakers were inserted" in text
  assert "lowest of a speaker's scores" in text

  cut = dataclasses.replace(
    plan,
    holdout=tuple(
      dataclasses.replace(c, speaker=f"h{i % 9}")
      for i, c in enumerate(plan.holdout)
    ),
  )
  single = report_test.checkpoint(cut, "pcc", 200, 0.1)
  found = audit.audit_results(cut, [single], resamples=50)
  assert found["checkpoints"][0]["speakers"] is None
  assert "12 inserted, 9 held out" in found["notes"][-1]
  assert "speakers were inserted" not in page.render(found, [])

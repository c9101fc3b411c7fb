"""Reference runs: matched by canary, out where they were out."""

import dataclasses
import json

import numpy as np
import pytest

from tests.audit import coins_test, report_test
from tf_pcc import audit
from tf_pcc.audit import page, reading, references

PLAN = coins_test.plan_of()


def audited(coin_seed, unseen=False, gain=2.0, easiness=0, **options):
  """A run whose losses fall by `gain` for what it was trained on."""
  plan = audit.flip_coins(PLAN, coin_seed)
  rng = np.random.default_rng([coin_seed, easiness])
  hard = {
    c.id: h for c, h in zip(PLAN.all, np.random.default_rng(9).normal(0, 3, 99))
  }

  def score(group):
    losses = np.array([hard[c.id] for c in group]) + rng.normal(size=len(group))
    seen = np.array([c.repetitions > 0 and not unseen for c in group])
    texts = [c.text for c in group]
    return audit.score_transcripts(texts, texts, losses + 9 - gain * seen)

  checkpoint = audit.AuditedCheckpoint(
    f"run {coin_seed}",
    100,
    score(plan.canaries),
    score(plan.holdout),
    0.1,
    unseen=unseen,
  )
  return audit.audit_results(plan, [checkpoint], resamples=50, **options)


@pytest.fixture(scope="module")
def others():
  return [audited(seed) for seed in range(1, 9)]


def test_scores_and_sides_are_those_of_the_canary(others):
  names = [(c.id, c.text) for c in PLAN.all]
  scores, included = references.scores_of(others, names, "loss")
  for run, (values, sides) in enumerate(zip(scores, included)):
    found = others[run]
    losses = sum(
      (
        found["checkpoints"][0]["scores"][group]["losses"]
        for group in ("inserted", "holdout")
      ),
      [],
    )
    by_id = {
      c["id"]: (x, c["inserted"]) for c, x in zip(found["canaries"], losses)
    }
    for (name, _), value, side in zip(names, values, sides):
      assert by_id[name] == (value, side)


def test_an_unseen_run_was_trained_on_none_of_them():
  names = [(c.id, c.text) for c in PLAN.all]
  _, included = references.scores_of([audited(1, True)], names, "loss")
  assert not included.any()
  _, included = references.scores_of([audited(1)], names, "loss")
  assert 20 < included.sum() < 40


def test_another_text_under_the_same_name_is_another_canary(others):
  names = [(c.id, c.text + " MORE") for c in PLAN.all]
  with pytest.raises(ValueError, match="'run 1', with none of the 80 canaries"):
    references.scores_of(others[:1], names, "loss")
  half = [(c.id, c.text if i % 2 else "OTHER") for i, c in enumerate(PLAN.all)]
  scores, included = references.scores_of(others[:1], half, "loss")
  np.testing.assert_array_equal(np.isnan(scores[0]), np.arange(80) % 2 == 0)
  assert not included[0, ::2].any()


def test_the_last_checkpoint_of_each_run_counts(others):
  early = json.loads(json.dumps(others[0]))
  (entry,) = early["checkpoints"]
  first = json.loads(json.dumps(entry))
  first["scores"]["inserted"]["losses"] = [0.0] * len(
    first["scores"]["inserted"]["losses"]
  )
  early["checkpoints"] = [first, entry]
  names = [(c.id, c.text) for c in PLAN.all]
  found, _ = references.scores_of([early], names, "loss")
  wanted, _ = references.scores_of(others[:1], names, "loss")
  np.testing.assert_array_equal(found, wanted)


def test_calibration_and_counterfactuals_of_coins(others):
  found = audited(0, reference_audits=others)
  against = found["checkpoints"][0]["against_references"]
  rows = {row["attack"]: row for row in against["calibrated"]["rows"]}
  assert list(rows) == ["plain", "difference", "lira", "rmia"]
  assert against["calibrated"]["references"] == 8
  assert against["calibrated"]["left_out"] == {}
  # 2 apart: of variance 10 each, and of 1 and a bit.
  assert rows["plain"]["auc"]["estimate"] < 0.8
  for name in ("difference", "lira", "rmia"):
    assert rows[name]["auc"]["estimate"] > 0.85, name
    assert rows[name]["tpr_at_fpr_0.01"] is None
  gained = {row["repetitions"]: row for row in against["counterfactual"]}
  assert list(gained) == [1, 8, "all"]
  for row in gained.values():
    assert row["memorization"]["low"] < 2 < row["memorization"]["high"]
  text = report_test.Page(page.render(found, [])).text
  assert "likelihood ratio, offline (LiRA)" in text
  assert "Counterfactual memorization" in text


def test_rmia_compares_no_hold_out_with_itself(others):
  """By brute force: the share of other hold-outs that gain less."""
  found = audited(0, reference_audits=others)
  (entry,) = found["checkpoints"]
  plan = audit.flip_coins(PLAN, 0)
  names = [(c.id, c.text) for c in plan.all]
  scores, included = references.scores_of(others, names, "loss")
  own, _ = references.scores_of([found], names, "loss")
  gains = []
  for i, loss in enumerate(own[0]):
    out = [s for s, side in zip(scores[:, i], included[:, i]) if not side]
    gains.append(np.exp(-loss) / np.mean(np.exp(-np.array(out))))
  count = len(plan.canaries)
  held = gains[count:]
  shares = [np.mean([g >= h for h in held]) for g in gains[:count]]
  shares += [
    np.mean([g >= h for j, h in enumerate(held) if j != i])
    for i, g in enumerate(held)
  ]
  wins = [
    (a > b) + (a == b) / 2 for a in shares[:count] for b in shares[count:]
  ]
  rmia = entry["against_references"]["calibrated"]["rows"][3]
  assert rmia["auc"]["estimate"] == pytest.approx(np.mean(wins))


def test_counterfactual_by_brute_force():
  rng = np.random.default_rng(0)
  scores, included = rng.normal(size=(5, 30)), rng.random((5, 30)) < 0.5
  scores[rng.random((5, 30)) < 0.1] = np.nan
  found = audit.counterfactual(scores, included)
  for i in range(30):
    inside = [s for s, k in zip(scores[:, i], included[:, i]) if k]
    outside = [s for s, k in zip(scores[:, i], included[:, i]) if not k]
    inside = [s for s in inside if np.isfinite(s)]
    outside = [s for s in outside if np.isfinite(s)]
    if inside and outside:
      assert found[i] == pytest.approx(np.mean(outside) - np.mean(inside))
    else:
      assert np.isnan(found[i])
  with pytest.raises(ValueError, match=r"included of shape \(2, 2\)"):
    audit.counterfactual([[1.0]], [[True, False]] * 2)


def test_a_recogniser_without_losses_has_the_other_attacks():
  def silent(found):
    found = json.loads(json.dumps(found))
    for entry in found["checkpoints"]:
      for group in ("inserted", "holdout"):
        entry["scores"][group]["losses"] = None
    return found

  known = [silent(audited(seed)) for seed in (1, 2)]
  for found in known:
    scores = found["checkpoints"][0]["scores"]
    rng = np.random.default_rng(found["plan"]["settings"]["coin_seed"])
    for group in ("inserted", "holdout"):
      edits = rng.integers(1, 9, len(scores[group]["edits"]))
      scores[group]["edits"] = edits.tolist()
  found = audited(0, reference_audits=known, score="cer")
  calibrated = found["checkpoints"][0]["against_references"]["calibrated"]
  attacks = [row["attack"] for row in calibrated["rows"]]
  assert attacks == ["plain", "difference", "lira"]
  assert "needs losses" in calibrated["left_out"]["rmia"]


def test_bad_references(others):
  with pytest.raises(ValueError, match="other runs than the audited one"):
    audited(1, reference_audits=others[:1])
  old = reading.read_audit(
    report_test.__file__.replace("report_test.py", "audit_format1.json")
  )
  with pytest.raises(ValueError, match="format 2 or later.*format=1"):
    audited(0, reference_audits=[old])
  whole = audited(1, True)
  names = [(c.id, c.text) for c in PLAN.all]
  scores, included = references.scores_of([whole], names, "loss")
  with pytest.raises(ValueError, match="at least one inserted.*0 inserted"):
    references.calibrated(
      scores[0, :60],
      scores[0, 60:],
      np.where(np.arange(80) < 60, np.nan, scores),
      "loss",
    )


def test_what_is_written_is_as_the_schema_says(others):
  reason = "the extra [dev] is not installed"
  jsonschema = pytest.importorskip("jsonschema", reason=reason)
  check = jsonschema.Draft202012Validator(audit.schema()).validate
  for found in (audited(0, reference_audits=others), audited(3, True)):
    check(json.loads(json.dumps(found, allow_nan=False)))


def test_a_single_inserted_canary_has_no_limits(others):
  plan = audit.flip_coins(PLAN, 0)
  one = dataclasses.replace(plan, canaries=plan.canaries[:1])
  names = [(c.id, c.text) for c in one.all]
  found = references.against(
    one,
    np.linspace(5, 9, len(names)),
    references.scores_of([audited(1, True)], names, "loss"),
    "loss",
    resamples=20,
    confidence=0.95,
    seed=0,
  )
  assert found["counterfactual"][0]["memorization"]["low"] is None

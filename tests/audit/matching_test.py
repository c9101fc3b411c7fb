"""Runs at matched word error rate: interpolation, pairing, intervals."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats

from tf_pcc.audit import matching

STEPS = (100, 200, 300, 400)


def run(method, seed, wer, values):
  return matching.Run(method, seed, STEPS, tuple(wer), {"m": tuple(values)})


BATCH = [
  run("batch", seed, (0.4, 0.2, 0.1, 0.05), (0, 0.2 + seed / 100, 0.5, 0.8))
  for seed in range(3)
]
# The same way at half the memorization, and twice as fast.
PCC = [
  run("pcc", seed, (0.2, 0.1, 0.05, 0.025), (0.1 + seed / 100, 0.25, 0.4, 0.6))
  for seed in range(3)
]


@pytest.mark.parametrize(
  "target, value, step",
  [(0.4, 0, 100), (0.3, 0.1, 150), (0.1, 0.5, 300), (0.05, 0.8, 400)],
)
def test_value_at_a_word_error_rate(target, value, step):
  found = matching.at_wer(BATCH[0], target, "m")
  np.testing.assert_allclose(found, (value, step), atol=1e-12)


@pytest.mark.parametrize("target", [0.049, 0.41])
def test_outside_of_the_run_is_nan(target):
  assert np.all(np.isnan(matching.at_wer(BATCH[0], target, "m")))


def test_agrees_with_inverse_interpolation_on_random_runs():
  rng = np.random.default_rng(0)
  for _ in range(50):
    wer = np.sort(rng.random(4))[::-1]
    values = rng.random(4)
    target = rng.uniform(wer[-1], wer[0])
    found = matching.at_wer(run("x", 0, wer, values), target, "m")
    expected = np.interp(target, wer[::-1], values[::-1])
    assert found[0] == pytest.approx(expected)


def test_rates_of_known_words_are_interpolated_by_their_logarithms():
  # Errors halve with every step: a straight line is late, a logarithm is not.
  words = 10_000
  rates = 0.4 * 0.5 ** np.arange(4)
  halving = dataclasses.replace(run("x", 0, rates, (0, 1, 2, 3)), words=words)
  for target in (0.3, 0.13, 0.051):
    value, step = matching.at_wer(halving, target, "m")
    counts = np.log((rates * words + 0.5) / words)
    wanted = np.log((target * words + 0.5) / words)
    expected = np.interp(-wanted, -counts, STEPS)
    assert step == pytest.approx(expected)
    assert step == pytest.approx(100 + 100 * np.log2(0.4 / target), abs=0.1)
    assert value == pytest.approx(step / 100 - 1)
    late = matching.at_wer(run("x", 0, rates, (0, 1, 2, 3)), target, "m")[1]
    assert late > step + 0.5


def test_no_error_at_all_has_a_place_on_the_way_there():
  found = dataclasses.replace(
    run("x", 0, (0.5, 0.1, 0.0, 0.0), (0, 1, 2, 3)), words=50
  )
  assert matching.at_wer(found, 0.0, "m") == (2.0, 300.0)
  # ln(5.5 / 2.5) of ln(5.5 / 0.5) is covered at two errors.
  value, step = matching.at_wer(found, 0.04, "m")
  share = np.log(5.5 / 2.5) / np.log(5.5 / 0.5)
  assert (value, step) == pytest.approx((1 + share, 200 + 100 * share))
  with pytest.raises(ValueError, match="words must be.*words=0"):
    dataclasses.replace(found, words=0)


def test_first_crossing_counts_when_the_error_rises_again():
  bumpy = run("x", 0, (0.4, 0.1, 0.3, 0.05), (0, 0.3, 0.9, 1.0))
  value, step = matching.at_wer(bumpy, 0.25, "m")
  assert (value, step) == (pytest.approx(0.15), pytest.approx(150))


def test_common_targets_lie_inside_every_run():
  targets = matching.common_targets(BATCH + PCC)
  assert targets == pytest.approx([0.05, 0.0625, 0.075, 0.1])
  for one in BATCH + PCC:
    assert all(not np.isnan(matching.at_wer(one, t, "m")[0]) for t in targets)


def test_runs_that_all_end_without_an_error_meet_there_once():
  fast = run("pcc", 0, (0.4, 0.0, 0.0, 0.0), (0, 0.2, 0.3, 0.4))
  slow = run("batch", 0, (0.4, 0.2, 0.1, 0.0), (0, 0.1, 0.3, 0.6))
  assert matching.common_targets([fast, slow]) == [0]
  rows = matching.matched_wer([fast, slow], "m", "batch")
  assert [row["step"]["estimate"] for row in rows] == [400, 200]
  assert [row["value"]["estimate"] for row in rows] == [0.6, 0.2]
  assert len(matching.matched_wer(BATCH, "m", "batch", targets=[0.1, 0.1])) == 1
  assert len(matching.matched_steps(BATCH, "m", "batch", steps=[200, 200])) == 1


def test_runs_that_never_meet_are_an_error():
  slow = run("slow", 0, (0.9, 0.8, 0.7, 0.6), (0, 0, 0, 0))
  fast = run("fast", 0, (0.5, 0.4, 0.3, 0.2), (0, 0, 0, 0))
  with pytest.raises(ValueError, match="all of them pass through"):
    matching.common_targets([slow, fast])
  with pytest.raises(ValueError, match="runs must not be empty"):
    matching.common_targets([])


def test_paired_differences_and_verdict():
  rows = matching.matched_wer(PCC + BATCH, "m", "batch", targets=[0.1])
  assert [row["method"] for row in rows] == ["batch", "pcc"]
  baseline, pcc = rows
  assert baseline["difference"] is None
  assert pcc["pairs"] == [0, 1, 2]
  assert pcc["value"]["estimate"] == pytest.approx(0.25)
  assert baseline["value"]["estimate"] == pytest.approx(0.5)
  assert pcc["step"]["estimate"] == pytest.approx(200)
  pcc = matching.matched_wer(PCC + BATCH, "m", "batch", targets=[0.15])[1]
  differences = [
    matching.at_wer(p, 0.15, "m")[0] - matching.at_wer(b, 0.15, "m")[0]
    for p, b in zip(PCC, BATCH)
  ]
  assert pcc["difference"]["estimate"] == pytest.approx(np.mean(differences))


def test_interval_is_scipys_paired_t_interval():
  rng = np.random.default_rng(1)
  base = [run("b", s, (0.4, 0.3, 0.2, 0.1), rng.random(4)) for s in range(5)]
  other = [run("o", s, (0.4, 0.3, 0.2, 0.1), rng.random(4)) for s in range(5)]
  row = matching.matched_wer(base + other, "m", "b", targets=[0.1])[1]
  a = [r.memorization["m"][-1] for r in other]
  b = [r.memorization["m"][-1] for r in base]
  limits = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
  assert row["difference"]["low"] == pytest.approx(limits.low)
  assert row["difference"]["high"] == pytest.approx(limits.high)


@pytest.mark.parametrize("lower_is_less", [True, False])
@pytest.mark.parametrize("sign", [1, -1, 0])
def test_verdicts(lower_is_less, sign):
  wer = (0.4, 0.3, 0.2, 0.1)
  rng = np.random.default_rng(2)
  base = [run("b", s, wer, [0, 0, 0, 0.5]) for s in range(4)]
  noise = rng.normal(0, 0.01, 4)
  noise -= noise.mean()
  other = [
    run("o", s, wer, [0, 0, 0, 0.5 + 0.2 * sign + noise[s]]) for s in range(4)
  ]
  row = matching.matched_wer(
    base + other, "m", "b", targets=[0.1], lower_is_less=lower_is_less
  )[1]
  expected = "undecided"
  if sign:
    expected = "more" if (sign > 0) == lower_is_less else "less"
  assert row["verdict"] == expected


def test_seeds_that_agree_decide_nothing():
  wer = (0.4, 0.3, 0.2, 0.1)
  shift = [0.1 + 0.2 - 0.3, 0.0, 0.0]
  base = [run("b", s, wer, [0, 0, 0, 0.5]) for s in range(3)]
  other = [run("o", s, wer, [0, 0, 0, 0.25 + shift[s]]) for s in range(3)]
  row = matching.matched_wer(base + other, "m", "b", targets=[0.1])[1]
  assert row["difference"]["estimate"] == pytest.approx(-0.25)
  assert (row["difference"]["low"], row["difference"]["high"]) == (None, None)
  assert row["verdict"] == "undecided"


def test_seeds_that_do_not_reach_the_target_are_named_and_left_out():
  slow = run("batch", 3, (0.9, 0.8, 0.7, 0.6), (0, 0, 0, 0))
  alone = run("pcc", 4, (0.4, 0.2, 0.1, 0.05), (0, 0, 0, 0.1))
  rows = matching.matched_wer(
    [*BATCH, slow, *PCC, alone], "m", "batch", targets=[0.05]
  )
  assert rows[0]["unreached"] == [3]
  assert rows[0]["seeds"] == [0, 1, 2]
  assert rows[1]["pairs"] == [0, 1, 2]
  assert rows[1]["seeds"] == [0, 1, 2, 4]
  json.dumps(rows, allow_nan=False)


def test_equal_steps():
  rows = matching.matched_steps(BATCH + PCC, "m", "batch", steps=[250, 400])
  found = {(r["method"], r["target"]): r["value"]["estimate"] for r in rows}
  assert found["pcc", 400] == pytest.approx(0.6)
  assert found["batch", 400] == pytest.approx(0.8)
  assert found["pcc", 250] == pytest.approx(0.325)
  wer = matching.matched_steps(BATCH + PCC, "wer", "batch")
  assert [r["target"] for r in wer] == [400, 400]
  assert wer[1]["difference"]["estimate"] == pytest.approx(-0.025)


def test_one_seed_has_no_interval():
  found = matching.mean_over_seeds([0.5])
  assert found.estimate == 0.5
  assert np.isnan(found.low)
  assert np.isnan(matching.mean_over_seeds([np.nan]).estimate)


def test_limits_stay_on_the_scale_and_hold_the_mean():
  found = matching.mean_over_seeds([0.0, 0.02, 0.1], scale=(0, 1))
  assert found.low == 0 < found.estimate < found.high < 1
  found = matching.mean_over_seeds([0.9, 1.0, 1.4], scale=(0, 1))
  assert found.low > 0 and found.high == found.estimate == pytest.approx(1.1)
  found = matching.mean_over_seeds([-0.05, -0.06, 0.01], scale=(0, np.inf))
  assert found.low == found.estimate < 0
  assert matching.scale_of("wer") == matching.scale_of("cer_x16") == (0, 1)
  assert matching.scale_of("extrapolated_exposure_all") == (0, np.inf)


def test_rows_are_clipped_and_their_differences_are_not():
  rates = {"cer_x8": (0.9, 0.5, 0.2, 0.1)}
  runs = [
    matching.Run(
      m,
      s,
      steps,
      (0.4, 0.3, 0.2, 0.1),
      {"cer_x8": tuple(c * (1 + 3 * s) / 4 for c in rates["cer_x8"])},
    )
    for m, steps in (("b", (10, 200, 300, 4000)), ("o", (5, 10, 15, 20)))
    for s in range(2)
  ]
  runs[3] = dataclasses.replace(runs[3], steps=(5, 10, 15, 900))
  base, other = matching.matched_wer(runs, "cer_x8", "b", targets=[0.1])
  for row in (base, other):
    assert row["value"]["low"] == 0 and row["value"]["high"] <= 1
  assert other["step"]["low"] == 0
  assert base["step_difference"] is None
  paired = matching.mean_over_seeds([20 - 4000, 900 - 4000])
  assert other["step_difference"] == paired._asdict()
  assert other["step_difference"]["low"] < -4000


def test_coverage_of_the_interval_over_seeds():
  rng = np.random.default_rng(3)
  draws = [matching.mean_over_seeds(rng.normal(size=3)) for _ in range(4000)]
  share = np.mean([d.low <= 0 <= d.high for d in draws])
  assert 0.93 < share < 0.97


@pytest.mark.parametrize(
  "make, message",
  [
    (lambda: matching.matched_wer(BATCH, "m", "pcc"), "baseline='pcc'"),
    (lambda: matching.matched_wer(BATCH, "z", "batch"), "figure='z'"),
    (
      lambda: matching.matched_wer(BATCH + BATCH[:1], "m", "batch"),
      "method='batch', seed=0",
    ),
    (lambda: run("x", 0, (0.1, 0.2), (0, 0, 0, 0)), "4 checkpoints"),
    (lambda: run("x", 0, (0.1, 0.2, np.nan, 0), (0,) * 4), "wer must.*nan"),
    (lambda: matching.Run("x", 0, (2, 1), (0, 0), {}), r"steps=\[2, 1\]"),
  ],
)
def test_bad_input(make, message):
  with pytest.raises(ValueError, match=f"(?s){message}"):
    make()

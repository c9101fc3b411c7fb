"""tf_pcc.audit.sequential: Holm, looks and the level they keep together."""

import itertools

import numpy as np
import pytest
import scipy.stats

from tf_pcc.audit import sequential
from tf_pcc.audit.sequential import Endpoint, Look


def _rejected_by_closure(p, alpha):
  """Holm's procedure as the closed test of Bonferroni tests, by brute force."""
  count = len(p)
  result = []
  for index in range(count):
    others = [i for i in range(count) if i != index]
    families = [
      [index, *chosen]
      for size in range(count)
      for chosen in itertools.combinations(others, size)
    ]
    result.append(all(min(p[i] for i in f) <= alpha / len(f) for f in families))
  return result


@pytest.mark.parametrize("alpha", [0.01, 0.045, 0.2])
def test_holm_is_the_closure_of_bonferroni(alpha):
  random = np.random.default_rng(0)
  for count in (1, 2, 3, 5, 6):
    for _ in range(20):
      p = random.uniform(0, 0.2, count) ** 2
      found = sequential.holm(p) <= alpha
      assert found.tolist() == _rejected_by_closure(p.tolist(), alpha)


def test_holm_takes_ties_and_tests_that_could_not_be_made():
  assert sequential.holm([]).size == 0
  assert sequential.holm([0.02, 0.02]).tolist() == [0.04, 0.04]
  assert sequential.holm([0.9, 0.8]).tolist() == [1.0, 1.0]
  found = sequential.holm([0.01, float("nan"), 0.02])
  assert found[0] == 0.03 and found[2] == 0.04 and np.isnan(found[1])
  with pytest.raises(ValueError, match="from 0 to 1"):
    sequential.holm([1.5])


def test_p_values_are_those_of_scipy():
  values = np.random.default_rng(1).normal(0.3, 1, 7)
  found = sequential.p_value(Endpoint("a", tuple(values)))
  assert found == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue)
  below = Endpoint("a", tuple(values), margin=0.4, inferiority=True)
  one_sided = scipy.stats.ttest_1samp(values, 0.4, alternative="less").pvalue
  assert sequential.p_value(below) == pytest.approx(min(1, 2 * one_sided))


@pytest.mark.parametrize(
  ("values", "inferiority", "expected"),
  [
    ((1.0,), False, None),
    ((0.0, 0.0), False, None),
    ((1.0, 1.0), False, 0.0),
    ((1.0, 1.0), True, 1.0),
    ((-1.0, -1.0), True, 0.0),
  ],
)
def test_seeds_that_agree_have_no_error(values, inferiority, expected):
  found = sequential.p_value(Endpoint("a", values, 0.0, inferiority))
  assert np.isnan(found) if expected is None else found == expected


def test_intervals_are_those_of_scipy():
  values = np.random.default_rng(2).normal(size=5)
  found = sequential.interval_of(Endpoint("a", tuple(values)), 0.99)
  expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.99)
  assert found[1:] == pytest.approx((expected.low, expected.high))
  assert np.isnan(sequential.interval_of(Endpoint("a", (1.0,))).low)


def test_what_a_look_has_decided_stays_so():
  clear = (-1.0, -1.1, -0.9, -1.0, -1.05)
  noise = (1.0, -1.0, 0.5, -0.5, 0.1)
  endpoints = [
    Endpoint("clear", clear + (50.0, -70.0, 60.0, -40.0, 0.0)),
    Endpoint("late", (-0.5, -2.0, 0.1, -1.4, -0.2) + clear),
    Endpoint("never", noise + noise),
    Endpoint("not worse", clear + clear, margin=0.3, inferiority=True),
  ]
  first, second = sequential.decide(endpoints)
  assert [v.verdict for v in first] == [
    "less",
    "undecided",
    "undecided",
    "holds",
  ]
  assert [v.verdict for v in second] == ["less", "less", "undecided", "holds"]
  assert second[0].look.seeds == 5 and second[1].look.seeds == 10
  assert first[0].endpoint.differences == clear
  assert first[0].corrected >= first[0].p
  assert sequential.decide([Endpoint("few", clear[:4])]) == []
  with pytest.raises(ValueError, match="5 seeds.*few"):
    sequential.at_look([Endpoint("few", clear[:4])], Look(5, 0.01))


def _rates(count, repeats):
  """How often any of `count` endpoints is decided where nothing differs."""
  random = np.random.default_rng(3)
  values = random.normal(size=(repeats, count, 10))
  wrong = np.zeros(repeats, bool)
  for look in sequential.LOOKS:
    seen = values[..., : look.seeds]
    p = scipy.stats.ttest_1samp(seen, 0, axis=-1).pvalue
    # The smallest is corrected by the full number: any is, if that one is.
    wrong |= p.min(axis=-1) * count <= look.alpha
  return wrong.mean()


@pytest.mark.parametrize("count", [1, 7])
def test_two_looks_keep_the_level(count):
  # The simulation's own standard error is 0.0011.
  found = _rates(count, 40000)
  assert 0.044 < found < 0.0545

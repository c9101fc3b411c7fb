"""Epsilon from one run: published code's values, naive forms, and its odds."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats

from tests.audit import coins_test, report_test
from tf_pcc import audit
from tf_pcc.audit import one_run, page

# jax-privacy 2.0.0 (Apache-2.0) with dp-accounting 0.6.0:
#   python -c "from jax_privacy import auditing as a
#   print(a._one_run_p_value(100, 20, 18, 0.5, 1e-3))"
P_VALUES = [
  (100, 20, 18, 0.5, 0.0, 0.006330568021416674),
  (100, 20, 18, 0.5, 1e-3, 0.02947997023691625),
  (1000, 100, 70, 0.5, 1e-5, 0.06694927057314852),
  (1000, 100, 100, 1.0, 1e-3, 0.05633089840715758),
  (20, 10, 9, 0.0, 1e-6, 0.0107487265625),
  (200, 40, 33, 1.0, 1e-4, 0.12508555950482445),
]
# Its _epsilon_one_run(0, m, guesses, correct, significance, delta), and the
# same of _epsilon_one_run_fdp; both to 1e-6.
EPSILONS = [
  (100, 20, 18, 0.05, 0.0, 0.9315097065953815, None),
  (100, 100, 80, 0.05, 1e-5, 0.9580863562992425, 2.130336401063387),
  (1000, 100, 98, 0.05, 1e-5, 2.7109631340457816, 4.227872933597753),
  (1000, 500, 400, 0.01, 1e-3, 0.0, 1.1273956033857269),
  (240, 24, 24, 0.05, 1e-5, 2.0105047428570977, 3.2104334467360816),
  (60, 30, 15, 0.05, 1e-5, 0.0, 0.0),
  (10000, 400, 390, 0.05, 1e-6, 3.122203848578846, 4.714712878881572),
]


@pytest.mark.parametrize(
  ("arguments", "wanted"), [(c[:5], c[5]) for c in P_VALUES]
)
def test_p_values_are_those_of_jax_privacy(arguments, wanted):
  assert one_run.p_value(*arguments) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("case", EPSILONS)
def test_epsilons_are_those_of_jax_privacy(case):
  m, guesses, correct, alpha, delta, plain, gaussian = case
  arguments = (m, guesses, correct, delta, 1 - alpha)
  found = one_run.epsilon_of_guesses(*arguments)
  assert found == pytest.approx(plain, abs=3e-6)
  if gaussian is not None:
    found = one_run.epsilon_of_guesses(*arguments, form="gaussian")
    assert found == pytest.approx(gaussian, abs=3e-6)


def test_where_jax_privacy_is_installed_it_agrees():
  reason = "jax-privacy is not installed; its values are above"
  theirs = pytest.importorskip("jax_privacy.auditing", reason=reason)
  rng = np.random.default_rng(0)
  for _ in range(20):
    m = int(rng.integers(20, 2000))
    guesses = int(rng.integers(1, m + 1))
    correct = int(rng.integers(guesses // 2, guesses + 1))
    mine = one_run.epsilon_of_guesses(m, guesses, correct, 1e-5)
    other = theirs._epsilon_one_run(0.0, m, guesses, correct, 0.05, 1e-5)
    assert mine == pytest.approx(other, abs=3e-6)


@pytest.mark.parametrize(("m", "guesses", "correct"), [(50, 20, 14), (9, 9, 9)])
@pytest.mark.parametrize("epsilon", [0.0, 0.7])
@pytest.mark.parametrize("delta", [0.0, 1e-4, 0.05])
def test_p_value_by_the_theorem(m, guesses, correct, epsilon, delta):
  """Theorem 5.2 term by term."""
  chance = np.exp(epsilon) / (1 + np.exp(epsilon))
  pmf = scipy.stats.binom(guesses, chance).pmf
  beta = sum(pmf(k) for k in range(correct, guesses + 1))
  alpha = max(
    sum(pmf(k) for k in range(max(0, correct - i), correct)) / i
    for i in range(1, m + 1)
  )
  wanted = min(1, beta + 2 * m * delta * alpha)
  found = one_run.p_value(m, guesses, correct, epsilon, delta)
  assert found == pytest.approx(wanted, rel=1e-9)


def test_without_delta_it_is_clopper_and_pearson():
  """The chance of a right guess, as its exact lower limit."""
  found = one_run.epsilon_of_guesses(60, 40, 33, delta=0.0)
  limit = scipy.stats.beta.ppf(0.05, 33, 8)
  assert found == pytest.approx(np.log(limit / (1 - limit)), abs=1e-7)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-6, 1e-3, 0.1])
def test_the_gaussian_mechanism_is_just_private(epsilon, delta):
  """delta is the largest of P(A) - e^epsilon Q(A) over half-lines A."""
  mu = one_run.gaussian_mu(epsilon, delta)
  cuts = np.linspace(-12, 12, 200001)
  gap = scipy.stats.norm.sf(cuts - mu) - np.exp(epsilon) * scipy.stats.norm.sf(
    cuts
  )
  assert gap.max() == pytest.approx(delta, rel=1e-5)


def _randomised_response(rng, m, epsilon):
  included = rng.integers(2, size=m) == 1
  honest = rng.random(m) < np.exp(epsilon) / (1 + np.exp(epsilon))
  return np.where(included == honest, 0.0, 1.0), included


def test_the_bound_holds_and_is_not_far_from_the_truth():
  """Randomised response is exactly epsilon-private: 95 of 100 must hold."""
  rng = np.random.default_rng(0)
  found = np.array(
    [
      audit.one_run_epsilon(*_randomised_response(rng, 400, 1.5), delta=0.0)[0]
      for _ in range(200)
    ]
  )
  assert np.mean(found <= 1.5) >= 0.95
  assert 0.9 < np.median(found) < 1.5


def test_noise_on_one_run_proves_nothing_and_a_gaussian_holds():
  rng = np.random.default_rng(1)
  none, gaussian = [], []
  mu = one_run.gaussian_mu(2.0, 1e-5)
  for _ in range(100):
    included = rng.integers(2, size=200) == 1
    noise = rng.normal(size=200)
    none.append(audit.one_run_epsilon(noise, included).epsilon)
    private = noise - mu * included
    gaussian.append(
      audit.one_run_epsilon(private, included, form="gaussian").epsilon
    )
  assert np.mean(np.array(none) > 0) <= 0.05
  assert np.mean(np.array(gaussian) <= 2.0) >= 0.95
  assert np.median(gaussian) > 0.05


def test_ties_do_not_tell_the_sides():
  """Inserted scores come first in a report; equal ones must not be guessed."""
  included = np.arange(200) < 100
  for seed in range(20):
    found = audit.one_run_epsilon(np.zeros(200), included, seed=seed)
    assert found.epsilon == 0


def test_the_example_of_all_right():
  found = audit.one_run_epsilon(
    [0.0] * 100 + [1.0] * 100, np.arange(200) < 100, confidence=0.95
  )
  assert (found.canaries, found.guesses, found.correct) == (200, 200, 200)
  # launch/audit.md has it.
  assert found.epsilon == pytest.approx(3.62, abs=0.005)


def test_bad_input():
  scores, included = np.arange(40.0), np.arange(40) < 20
  with pytest.raises(ValueError, match="at least 20 scores.*19"):
    audit.one_run_epsilon(scores[:19], included[:19])
  with pytest.raises(ValueError, match="one bool a score.*int"):
    audit.one_run_epsilon(scores, included.astype(int))
  with pytest.raises(ValueError, match="form='pure'"):
    audit.one_run_epsilon(scores, included, form="pure")
  with pytest.raises(ValueError, match="delta must be.*delta=0.0"):
    audit.one_run_epsilon(scores, included, delta=0.0, form="gaussian")
  with pytest.raises(ValueError, match="correct=3, guesses=2, canaries=9"):
    one_run.epsilon_of_guesses(9, 2, 3)


def test_the_report_has_it_where_coins_were_flipped():
  plan = audit.flip_coins(coins_test.plan_of(), 1)
  single = report_test.checkpoint(plan, "pcc", 2000, 0.1)
  found = audit.audit_results(plan, [single], resamples=50)
  rows = found["checkpoints"][0]["one_run"]
  assert json.loads(json.dumps(rows)) == rows
  assert [row["repetitions"] for row in rows] == [1, 8, "all"]
  assert [row["canaries"] for row in rows] == [30, 30, 60]
  # All were learnt; held-out canaries that no coin decided over do not count.
  assert rows[-1]["dp"]["correct"] == rows[-1]["dp"]["guesses"]
  assert rows[-1]["gaussian"]["epsilon"] > rows[-1]["dp"]["epsilon"] > 1
  text = report_test.Page(page.render(found, [])).text
  assert "Epsilon by one run's coins" in text and "pcc: ×8" in text

  few = audit.flip_coins(coins_test.plan_of(canaries_per_count=9), 1)
  single = report_test.checkpoint(few, "pcc", 2000, 0.1)
  found = audit.audit_results(few, [single], resamples=50)
  assert found["checkpoints"][0]["one_run"] is None
  bare = coins_test.plan_of()
  single = report_test.checkpoint(bare, "pcc", 2000, 0.1)
  found = audit.audit_results(bare, [single], resamples=50)
  assert found["checkpoints"][0]["one_run"] is None
  assert "Epsilon by one" not in page.render(found, [])


def test_its_rows_are_of_the_right_canaries():
  plan = audit.flip_coins(coins_test.plan_of(), 1)
  scores = [-1.0 if c.coin == 8 else 0.0 for c in plan.canaries]
  others = [0.0] * len(plan.holdout)
  rows = one_run.one_run_rows(plan, scores, others)
  assert [row["dp"]["epsilon"] > 0 for row in rows] == [False, True, True]
  moved = dataclasses.replace(plan, canaries=plan.canaries[::-1])
  again = one_run.one_run_rows(moved, scores[::-1], others)
  assert again[1]["dp"]["epsilon"] == rows[1]["dp"]["epsilon"]

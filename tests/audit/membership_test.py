"""AUC, TPR at a FPR and the epsilon bound against naive references."""

import numpy as np
import pytest
import scipy.stats

from tf_pcc.audit import membership


def naive_auc(scores, holdout):
  pairs = [(s < h) + 0.5 * (s == h) for s in scores for h in holdout]
  return np.mean(pairs)


def naive_tpr(scores, holdout, fpr):
  """The best of all thresholds "below t" that keep the FPR."""
  thresholds = np.append(np.unique(np.concatenate([scores, holdout])), np.inf)
  return max(
    np.mean(scores < t)
    for t in thresholds
    if np.mean(holdout < t) <= fpr + 1e-12
  )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_tpr_agree_with_definitions(dtype, ties):
  rng = np.random.default_rng(0)
  for _ in range(20):
    scores, holdout = rng.normal(-0.7, 1, 23), rng.normal(size=50)
    if ties:
      scores, holdout = np.round(scores), np.round(holdout)
    scores, holdout = scores.astype(dtype), holdout.astype(dtype)
    assert membership.auc(scores, holdout) == pytest.approx(
      naive_auc(scores, holdout)
    )
    for fpr in (0.001, 0.01, 0.02, 0.1, 0.3, 0.999):
      assert membership.tpr_at_fpr(scores, holdout, fpr) == pytest.approx(
        naive_tpr(scores, holdout, fpr)
      )


def test_roc_is_a_curve_whose_area_is_the_auc():
  rng = np.random.default_rng(1)
  scores = np.round(rng.normal(-1, 1, 40), 1)
  holdout = np.round(rng.normal(size=60), 1)
  fpr, tpr = membership.roc_curve(scores, holdout)
  assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
  assert np.all(np.diff(fpr) >= 0)
  assert np.all(np.diff(tpr) >= 0)
  area = np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)
  assert area == pytest.approx(membership.auc(scores, holdout))


def test_all_equal_scores_tell_nothing():
  assert membership.auc(np.ones(9), np.ones(30)) == 0.5
  assert membership.tpr_at_fpr(np.ones(9), np.ones(30), 0.01) == 0.0
  assert membership.epsilon_lower_bound(np.ones(9), np.ones(30)) == 0.0


def test_a_lookup_table_is_found_out_completely():
  scores, holdout = np.zeros(20), np.arange(1.0, 201)
  auc = membership.auc_interval(scores, holdout)
  assert (auc.estimate, auc.high) == (1.0, 1.0)
  assert 0.8 < auc.low < 0.97
  tpr = membership.tpr_interval(scores - 100, holdout, 0.01)
  assert tpr.estimate == 1.0
  assert 0.8 < tpr.low < 1
  # Just below hold-outs that cannot resolve the rate, nothing is known.
  near = membership.tpr_interval(scores, holdout, 0.001)
  assert near.estimate == 1.0 and near.low < 0.01
  assert membership.epsilon_lower_bound(scores, holdout) > 2


def test_never_seen_canaries_are_inside_the_interval_at_the_stated_rate():
  rng = np.random.default_rng(2)
  hits, values = 0, []
  for seed in range(100):
    found = membership.auc_interval(
      rng.normal(size=40), rng.normal(size=200), resamples=500, seed=seed
    )
    hits += found.low <= 0.5 <= found.high
    values.append(found.estimate)
  # 95% of 100: the 99.9% range of a binomial variable.
  assert 87 <= hits <= 100
  assert np.mean(values) == pytest.approx(0.5, abs=0.02)


def test_nobody_found_still_has_an_upper_limit():
  found = membership.tpr_interval(np.ones(20), np.zeros(200), 0.01)
  assert (found.estimate, found.low) == (0.0, pytest.approx(0.0, abs=1e-3))
  assert 0.05 < found.high < 0.25


@pytest.mark.parametrize("fpr", [0, 1, -0.1, 5])
def test_fpr_out_of_range(fpr):
  with pytest.raises(ValueError, match="(?s)fpr.*Received: fpr="):
    membership.tpr_at_fpr([1.0], [2.0], fpr)


@pytest.mark.parametrize(
  "function",
  [
    membership.auc,
    membership.auc_interval,
    membership.tpr_at_fpr,
    membership.tpr_interval,
    membership.roc_curve,
    membership.epsilon_lower_bound,
  ],
)
def test_nan_is_refused(function):
  with pytest.raises(ValueError, match="NaN"):
    function([1.0, np.nan], [1.0, 2.0])
  with pytest.raises(ValueError, match="NaN"):
    function([1.0], [np.nan, 2.0])


def naive_epsilon(scores, holdout, delta, confidence):
  """Every threshold in turn, with scipy's exact binomial intervals."""
  scores, holdout = np.asarray(scores), np.sort(holdout)
  places = [1]
  while places[-1] * 2 <= len(holdout):
    places.append(places[-1] * 2)
  level = 1 - (1 - confidence) / len(places)
  best = 0.0
  for place in places:
    threshold = holdout[place - 1]
    low = (
      scipy.stats.binomtest(int(np.sum(scores < threshold)), len(scores))
      .proportion_ci(level, "exact")
      .low
    )
    high = (
      scipy.stats.binomtest(place - 1, len(holdout))
      .proportion_ci(level, "exact")
      .high
    )
    if low > delta:
      best = max(best, np.log((low - delta) / high))
    if 1 - high > delta:
      best = max(best, np.log((1 - high - delta) / (1 - low)))
  return best


@pytest.mark.parametrize("delta", [0.0, 0.05])
@pytest.mark.parametrize("shift", [0.0, 1.5, 4.0])
def test_epsilon_agrees_with_exact_binomial_intervals(shift, delta):
  rng = np.random.default_rng(3)
  scores, holdout = rng.normal(-shift, 1, 100), rng.normal(size=200)
  found = membership.epsilon_lower_bound(scores, holdout, delta)
  assert found == pytest.approx(
    naive_epsilon(scores, holdout, delta, 0.95), rel=1e-9, abs=1e-12
  )


def test_epsilon_stays_below_the_truth_at_the_stated_rate():
  """Laplace noise of scale 1 on a query of sensitivity 1 has epsilon 1."""
  rng = np.random.default_rng(4)
  above = sum(
    membership.epsilon_lower_bound(
      rng.laplace(-1, 1, 300), rng.laplace(0, 1, 1000)
    )
    > 1
    for _ in range(200)
  )
  assert above <= 10

"""Calibrated attacks against brute force, and against toy Gaussian truths."""

import numpy as np
import pytest
import scipy.stats

from tf_pcc.audit import calibration, membership


def sample(rng, runs=9, size=40, share=0.6):
  scores = rng.normal(3, 1, size)
  known = rng.normal(3, 1, (runs, size))
  known[rng.random((runs, size)) > share] = np.nan
  known[0] = rng.normal(3, 1, size)
  known[1:, 7] = np.nan
  return scores, known


def known_of(known, i):
  return [row[i] for row in known if np.isfinite(row[i])]


def test_difference_and_lira_by_brute_force():
  scores, known = sample(np.random.default_rng(0))
  known[2, 5] = np.inf
  everyone = [known_of(known, i) for i in range(40)]
  pooled = sum(
    sum((x - np.mean(values)) ** 2 for x in values) for values in everyone
  ) / sum(len(values) - 1 for values in everyone)
  own = [len(values) >= 8 for values in everyone]
  assert 0 < sum(own) < 40
  deviations = [
    np.std(values, ddof=1) if mine else np.sqrt(pooled)
    for values, mine in zip(everyone, own)
  ]
  means = [np.mean(values) for values in everyone]
  np.testing.assert_allclose(
    calibration.difference(scores, known), scores - means
  )
  np.testing.assert_allclose(
    calibration.lira(scores, known), (scores - means) / deviations
  )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("offline", [0.0, 0.3, 1.0])
def test_rmia_by_brute_force(gamma, offline):
  rng = np.random.default_rng(1)
  losses, known = sample(rng)
  population, others = sample(rng, size=30)

  def ratio(loss, references):
    out = np.mean([np.exp(-x) for x in references])
    return np.exp(-loss) / (((1 + offline) * out + 1 - offline) / 2)

  members = [ratio(x, known_of(known, i)) for i, x in enumerate(losses)]
  strangers = [ratio(x, known_of(others, i)) for i, x in enumerate(population)]
  wanted = [1 - np.mean([m / z >= gamma for z in strangers]) for m in members]
  np.testing.assert_allclose(
    calibration.rmia(losses, known, population, others, gamma, offline), wanted
  )


def test_rmia_of_large_losses_does_not_vanish():
  """exp(-1000) is 0; its logarithm is not."""
  losses, known = sample(np.random.default_rng(2))
  population, others = sample(np.random.default_rng(3))
  near = calibration.rmia(losses, known, population, others)
  far = calibration.rmia(
    losses + 1000, known + 1000, population + 1000, others + 1000
  )
  np.testing.assert_allclose(near, far)


def test_lira_is_a_standard_normal_for_strangers():
  """With many runs the p-values of canaries never seen are uniform."""
  rng = np.random.default_rng(4)
  easiness = rng.normal(0, 3, 400)
  spread = rng.uniform(0.5, 2, 400)
  known = easiness + spread * rng.normal(size=(400, 400))
  scores = easiness + spread * rng.normal(size=400)
  found = scipy.stats.norm.cdf(calibration.lira(scores, known))
  assert scipy.stats.kstest(found, "uniform").pvalue > 0.01


def test_calibrated_attacks_find_what_easiness_hides():
  """Members' scores are 1 lower; canaries differ by 3. The true AUCs.

  Plain: normals 1 apart of variance 9 + 1. Calibrated with many runs: 1 apart
  of variance 1.
  """
  rng = np.random.default_rng(5)
  size, runs = 3000, 64
  easiness = rng.normal(0, 3, 2 * size)
  known = easiness + rng.normal(size=(runs, 2 * size))
  scores = easiness + rng.normal(size=2 * size)
  scores[:size] -= 1

  def auc(values):
    return membership.auc(values[:size], values[size:])

  plain = scipy.stats.norm.cdf(1 / np.sqrt(2 * 10))
  sharp = scipy.stats.norm.cdf(1 / np.sqrt(2))
  assert auc(scores) == pytest.approx(plain, abs=0.03)
  for found in (
    calibration.difference(scores, known),
    calibration.lira(scores, known),
    calibration.rmia(scores, known, scores[size:], known[:, size:]),
  ):
    assert auc(found) == pytest.approx(sharp, abs=0.03)


@pytest.mark.parametrize(
  ("function", "known", "message"),
  [
    (calibration.difference, [[1.0]], r"shape \(1, 1\) for 2 scores"),
    (calibration.difference, [[1.0, np.nan]], "one run without.*number 1"),
    (calibration.lira, [[1.0, 2.0]], "two runs without.*1 runs, 1 without"),
    (calibration.lira, [[1.0, 2.0]] * 3, "Gaussian.*3 runs, 3 without"),
  ],
)
def test_bad_references(function, known, message):
  with pytest.raises(ValueError, match=message):
    function([1.0, 2.0], known)


@pytest.mark.parametrize("changed", [{"gamma": 0.0}, {"offline": 1.5}])
def test_bad_arguments_of_rmia(changed):
  with pytest.raises(ValueError, match="gamma must be above 0 and offline"):
    calibration.rmia([1.0], [[1.0]], [1.0], [[1.0]], **changed)

"""Bootstrap intervals: exact posteriors, seeds, ends of the scale."""

import numpy as np
import pytest
import scipy.stats

from tf_pcc.audit import bootstrap


@pytest.mark.parametrize("hits, count", [(0, 20), (3, 20), (10, 20), (20, 20)])
def test_a_rate_has_jeffreys_interval(hits, count):
  values = np.arange(count) < hits
  found = bootstrap.mean_interval(values, ends=(0, 1), resamples=200_000)
  posterior = scipy.stats.beta(hits + 0.5, count - hits + 0.5)
  assert found.estimate == hits / count
  assert found.low == pytest.approx(
    min(posterior.ppf(0.025), hits / count), abs=0.004
  )
  assert found.high == pytest.approx(
    max(posterior.ppf(0.975), hits / count), abs=0.004
  )


def test_weights_sum_to_one_and_are_dirichlet():
  rng = np.random.default_rng(0)
  weights, low, high = bootstrap.dirichlet_weights(rng, 9, 50_000)
  np.testing.assert_allclose(weights.sum(1) + low + high, 1, rtol=1e-12)
  np.testing.assert_allclose(weights.mean(0), 1 / 10, rtol=0.03)
  np.testing.assert_allclose([low.mean(), high.mean()], 1 / 20, rtol=0.03)
  variance = 0.1 * 0.9 / 11
  np.testing.assert_allclose(weights.var(0), variance, rtol=0.05)


def test_large_samples_agree_with_the_normal_interval():
  values = np.random.default_rng(1).normal(3, 2, 4000)
  found = bootstrap.mean_interval(values)
  half = 1.96 * values.std() / np.sqrt(values.size)
  assert found.low == pytest.approx(values.mean() - half, abs=0.01)
  assert found.high == pytest.approx(values.mean() + half, abs=0.01)


def test_ratio_of_sums():
  errors, lengths = np.array([1, 0, 12, 3]), np.array([10, 20, 30, 5])
  found = bootstrap.mean_interval(errors, ends=(0, 1), sizes=lengths)
  assert found.estimate == 16 / 65
  assert 0 < found.low < 16 / 65 < found.high < 1
  # A change of unit of the sizes changes nothing but the unit.
  scaled = bootstrap.mean_interval(errors * 3, ends=(0, 1), sizes=lengths * 3)
  np.testing.assert_allclose(scaled, found, rtol=1e-12)


def test_without_ends_it_is_the_bootstrap_t():
  """Against the textbook's loop: a resample at a time."""
  rng = np.random.default_rng(3)
  values = rng.exponential(size=15)
  count, mean = values.size, values.mean()
  error = values.std(ddof=1) / np.sqrt(count)
  deviations = []
  for _ in range(20_000):
    drawn = rng.choice(values, count)
    deviations.append(
      (drawn.mean() - mean) / (drawn.std(ddof=1) / np.sqrt(count))
    )
  low, high = mean - error * np.quantile(deviations, [0.975, 0.025])
  found = bootstrap.mean_interval(values, resamples=20_000)
  assert found.estimate == pytest.approx(mean)
  assert found.low == pytest.approx(low, rel=0.03)
  assert found.high == pytest.approx(high, rel=0.03)
  # The long tail is above: so is the longer arm.
  assert found.high - mean > 1.3 * (mean - found.low)


def test_without_ends_few_or_equal_values():
  assert bootstrap.mean_interval([2.0, 2.0, 2.0]) == (2, 2, 2)
  alone = bootstrap.mean_interval([2.0])
  assert alone.estimate == 2 and np.isnan(alone.low) and np.isnan(alone.high)
  # Most draws of these hold equal values only.
  lonely = bootstrap.mean_interval([1.0] * 19 + [5.0])
  assert np.isfinite(lonely).all() and lonely.low <= 1.2 <= lonely.high


def test_without_ends_a_ratio_is_linearised():
  rng = np.random.default_rng(4)
  sizes = rng.integers(5, 50, 3000).astype(float)
  values = sizes * rng.gamma(2, 0.1, 3000)
  found = bootstrap.mean_interval(values, sizes=sizes)
  ratio = values.sum() / sizes.sum()
  error = np.std(values - ratio * sizes) / np.sqrt(3000) / sizes.mean()
  assert found.estimate == pytest.approx(ratio)
  assert found.low == pytest.approx(ratio - 1.96 * error, abs=0.2 * error)
  assert found.high == pytest.approx(ratio + 1.96 * error, abs=0.2 * error)


def test_same_seed_same_interval():
  values = np.arange(20.0)
  assert bootstrap.mean_interval(values, seed=3) == bootstrap.mean_interval(
    values, seed=3
  )
  assert bootstrap.mean_interval(values, seed=3) != bootstrap.mean_interval(
    values, seed=4
  )


@pytest.mark.parametrize("dtype", [bool, np.float32, np.int64])
def test_higher_confidence_is_wider(dtype):
  values = np.random.default_rng(2).integers(0, 2, 30).astype(dtype)
  narrow = bootstrap.mean_interval(values, confidence=0.5)
  wide = bootstrap.mean_interval(values, confidence=0.99)
  assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
  "arguments, message",
  [
    ({"values": [1.0, np.nan]}, "values must not be NaN"),
    ({"values": []}, "at least 1"),
    ({"values": [1.0], "sizes": [0.0]}, "sizes must hold one positive"),
    ({"values": [1.0], "sizes": [1.0, 2.0]}, "sizes must hold one positive"),
    ({"values": [1.0], "confidence": 95}, "confidence=95"),
  ],
)
def test_bad_input(arguments, message):
  with pytest.raises(ValueError, match=message):
    bootstrap.mean_interval(**arguments)

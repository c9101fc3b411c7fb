"""Rank and extrapolated exposure against known values and naive references."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from scipy.special import log_ndtr

from tf_pcc.audit import exposure


def naive_exposure(scores, holdout):
  """The definition, one canary at a time."""
  return [
    np.log2(len(holdout)) - np.log2(1 + sum(h <= s for h in holdout))
    for s in scores
  ]


@pytest.mark.parametrize(
  "score, expected",
  [(0, 4.0), (0.1, 4.0), (3.5, 2.0), (20, np.log2(16 / 17)), (1, 3.0)],
)
def test_known_values(score, expected):
  found = exposure.rank_exposure([score], range(1, 17))
  np.testing.assert_allclose(found, [expected], rtol=1e-13)


@pytest.mark.parametrize(
  "dtype", [np.float16, np.float32, np.float64, np.int32]
)
def test_agrees_with_definition_with_ties_and_keeps_order(dtype):
  rng = np.random.default_rng(1)
  scores = rng.integers(0, 9, 50).astype(dtype)
  holdout = rng.integers(0, 9, 37).astype(dtype)
  before = scores.copy()
  found = exposure.rank_exposure(scores, holdout)
  np.testing.assert_allclose(found, naive_exposure(scores, holdout), rtol=1e-14)
  np.testing.assert_array_equal(scores, before)


def test_holdout_goes_first_at_a_tie():
  assert exposure.rank_exposure([5.0], [5.0] * 7 + [9.0])[0] == 0.0


def test_infinite_loss_ranks_last():
  found = exposure.rank_exposure([np.inf], np.arange(32.0))
  assert found[0] == pytest.approx(np.log2(32 / 33))


@pytest.mark.parametrize("which", ["scores", "holdout_scores"])
@pytest.mark.parametrize(
  "function", [exposure.rank_exposure, exposure.extrapolated_exposure]
)
def test_nan_is_refused_by_name_and_place(function, which):
  arguments = {"scores": np.arange(30.0), "holdout_scores": np.arange(30.0)}
  arguments[which][7] = np.nan
  with pytest.raises(ValueError, match=rf"(?s){which}.*Received.*\[7\]"):
    function(**arguments)


def test_empty_and_matrix_are_refused():
  with pytest.raises(ValueError, match="at least 1"):
    exposure.rank_exposure([], [1.0])
  with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
    exposure.rank_exposure([[1.0, 2.0]], [1.0])


def test_never_seen_canaries_have_1_44_on_average():
  rng = np.random.default_rng(0)
  means = [
    exposure.rank_exposure(rng.normal(size=120), rng.normal(size=1000)).mean()
    for _ in range(100)
  ]
  error = np.std(means) / np.sqrt(len(means))
  assert abs(np.mean(means) - exposure.unseen(1000)) < 4 * error
  assert error < 0.03


@pytest.mark.parametrize("size", [1, 20, 200])
def test_mean_of_the_unseen_is_that_of_all_ranks(size):
  # A score in each of the N + 1 gaps of the hold-out.
  scores = np.arange(size + 1) - 0.5
  expected = exposure.rank_exposure(scores, np.arange(size)).mean()
  assert exposure.unseen(size) == pytest.approx(expected)
  assert exposure.unseen(10**6) == pytest.approx(1 / np.log(2), abs=1e-4)


def test_a_lookup_table_reaches_the_ceiling():
  interval = exposure.exposure_interval(np.zeros(20), np.arange(1.0, 201))
  assert interval.estimate == pytest.approx(np.log2(200))
  assert exposure.ceiling(200) == np.log2(200)
  assert interval.high == pytest.approx(np.log2(200))
  # All twenty at the top is not proof that the twenty-first would be.
  assert 5 < interval.low < np.log2(200)


def test_interval_holds_the_mean_and_depends_on_seed_only():
  rng = np.random.default_rng(2)
  scores, holdout = rng.normal(-1, 1, 20), rng.normal(size=200)
  one = exposure.exposure_interval(scores, holdout, seed=5)
  assert one == exposure.exposure_interval(scores, holdout, seed=5)
  assert one != exposure.exposure_interval(scores, holdout, seed=6)
  assert one.low < one.estimate < one.high
  mean = exposure.rank_exposure(scores, holdout).mean()
  assert one.estimate == pytest.approx(mean)


# The skew-normal's distribution function has a closed form for these shapes.
CLOSED = {
  0.0: log_ndtr,
  1.0: lambda z: 2 * log_ndtr(z),
  -1.0: lambda z: log_ndtr(z) + np.log1p(np.exp(log_ndtr(-z))),
}


@pytest.mark.parametrize("shape", sorted(CLOSED))
def test_logcdf_agrees_with_closed_forms_at_any_depth(shape):
  z = np.array([3, 0, -1, -4, -4.9, -6, -10, -40, -1000, -1e6])
  np.testing.assert_allclose(
    exposure.skewnorm_logcdf(z, shape), CLOSED[shape](z), rtol=2e-9
  )


@pytest.mark.parametrize("shape", [-30.0, -5.0, -0.3, 0.7, 4.0, 30.0])
def test_logcdf_agrees_with_quadrature_in_log_space(shape):
  for z in (-0.5, -2.0, -3.5, -8.0, -25.0):
    peak = exposure._logpdf(np.float64(z), shape)
    # Scaled by the density at z, the integral is of ordinary size.
    slope = abs(shape) * (abs(shape) * abs(z) + 1) * (shape > 0) + abs(z) + 1
    scaled, _ = scipy.integrate.quad(
      lambda v, z=z, peak=peak, slope=slope: np.exp(
        exposure._logpdf(z - v / slope, shape) - peak
      ),
      0,
      np.inf,
      epsabs=0,
      epsrel=1e-11,
      limit=500,
    )
    expected = peak + np.log(scaled / slope)
    found = exposure.skewnorm_logcdf(np.array([z]), shape)[0]
    assert found == pytest.approx(expected, rel=1e-7), (shape, z)


def test_logcdf_is_finite_where_scipys_cdf_underflows():
  z = np.array([-20.0])
  assert scipy.stats.skewnorm.cdf(z, 5)[0] <= 0 or not np.isfinite(
    scipy.stats.skewnorm.logcdf(z, 5)[0]
  )
  found = exposure.skewnorm_logcdf(z, 5)[0]
  assert np.isfinite(found)
  assert found < -1000


def test_logcdf_rises_across_the_change_of_method():
  z = np.linspace(-6, -3, 301)
  for shape in (-3.0, 0.5, 3.0):
    assert np.all(np.diff(exposure.skewnorm_logcdf(z, shape)) > 0)


@pytest.mark.parametrize("shape", [-4.0, 0.0, 4.0])
def test_fit_recovers_the_distribution(shape):
  rng = np.random.default_rng(3)
  holdout = scipy.stats.skewnorm.rvs(
    shape, loc=5, scale=2, size=4000, random_state=rng
  )
  fit = exposure.fit_skew_normal(holdout)
  grid = np.linspace(0, 10, 50)
  found = exposure.skewnorm_logcdf((grid - fit.loc) / fit.scale, fit.shape)
  truth = scipy.stats.skewnorm.cdf(grid, shape, 5, 2)
  np.testing.assert_allclose(np.exp(found), truth, atol=0.03)
  assert fit.ks_pvalue > 0.01
  reference = scipy.stats.kstest(
    holdout, scipy.stats.skewnorm(fit.shape, fit.loc, fit.scale).cdf
  )
  assert fit.ks_pvalue == pytest.approx(reference.pvalue, rel=1e-6)


def test_ks_condemns_a_bad_fit():
  rng = np.random.default_rng(4)
  two_heaps = np.concatenate([rng.normal(0, 0.1, 200), rng.normal(9, 0.1, 200)])
  assert exposure.fit_skew_normal(two_heaps).ks_pvalue < 1e-4


def test_fit_stays_finite_for_one_sided_samples():
  for seed in range(20):
    sample = np.random.default_rng(seed).exponential(size=40)
    assert abs(exposure.fit_skew_normal(sample).shape) < 1000


def test_fit_does_not_depend_on_unit_or_origin():
  rng = np.random.default_rng(5)
  scores, holdout = rng.normal(-4, 1, 9), rng.gamma(4, size=100)
  one = exposure.extrapolated_exposure(scores, holdout)
  two = exposure.extrapolated_exposure(scores * 1e3 + 7e3, holdout * 1e3 + 7e3)
  np.testing.assert_allclose(one, two, rtol=1e-4)


def test_extrapolation_agrees_with_ranks_inside_the_holdout():
  rng = np.random.default_rng(6)
  holdout = rng.normal(size=20_000)
  scores = np.quantile(holdout, [0.5, 0.1, 0.01])
  np.testing.assert_allclose(
    exposure.extrapolated_exposure(scores, holdout),
    exposure.rank_exposure(scores, holdout),
    atol=0.15,
  )


def test_extrapolation_goes_past_the_ceiling_and_orders_canaries():
  holdout = np.random.default_rng(7).normal(100, 1, 200)
  found = exposure.extrapolated_exposure([60.0, 10.0, 90.0], holdout)
  assert np.all(np.isfinite(found))
  assert found[1] > found[0] > found[2] > exposure.ceiling(200)
  # 40 standard deviations of a normal distribution: about 1160 bits.
  assert found[0] == pytest.approx(-log_ndtr(-40) / np.log(2), rel=0.5)


@pytest.mark.parametrize(
  "holdout, message",
  [
    (np.arange(19.0), "at least 20"),
    (np.ones(30), "all equal 1"),
    (np.append(np.arange(30.0), np.inf), "finite"),
  ],
)
def test_unfit_holdouts_are_refused(holdout, message):
  with pytest.raises(ValueError, match=message):
    exposure.extrapolated_exposure([1.0], holdout)


@pytest.mark.parametrize("ties", [False, True])
def test_unseen_by_leaving_each_holdout_out(ties):
  rng = np.random.default_rng(11)
  holdout = rng.integers(0, 6, 40) * 1.0 if ties else rng.normal(size=40)
  expected = np.mean(
    [
      exposure.rank_exposure(holdout[[i]], np.delete(holdout, i))[0]
      for i in range(40)
    ]
  )
  assert exposure.unseen_among(holdout) == pytest.approx(expected)
  if not ties:
    assert expected == pytest.approx(exposure.unseen(39))
  # What canaries of the same kind get.
  fresh = rng.choice(holdout, 4000) if ties else rng.normal(size=4000)
  found = exposure.rank_exposure(fresh, holdout).mean()
  assert exposure.unseen_among(holdout) == pytest.approx(found, abs=0.25)


def test_unseen_needs_two():
  with pytest.raises(ValueError, match="at least 2"):
    exposure.unseen_among([1.0])

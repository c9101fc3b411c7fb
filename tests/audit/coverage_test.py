"""Do nominal 95% intervals hold the truth 93 to 97% of the time?

The figures and sample sizes of a real audit: 20 canaries a repetition count,
200 hold-outs. One draw of the experiment is one interval; the truth comes from
a closed form or a large simulation.
"""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from tf_pcc.audit import bootstrap, exposure, membership

CANARIES, HOLDOUT, DRAWS = 20, 200, 3000


def share_covered(draw_interval, truth, draws=DRAWS):
  rng = np.random.default_rng(0)
  hits = 0
  for seed in range(draws):
    interval = draw_interval(rng, seed)
    hits += interval.low <= truth <= interval.high
  return hits / draws


def check(share, draws=DRAWS):
  # Three standard errors of the simulation itself on each side.
  slack = 3 * np.sqrt(0.95 * 0.05 / draws)
  assert 0.93 - slack <= share <= 0.97 + slack, share


def partly_memorized(rng, probability):
  """Error rates of canaries that are either memorized or not."""
  memorized = rng.random(CANARIES) < probability
  return np.where(memorized, rng.beta(1, 8, CANARIES), rng.beta(9, 2, CANARIES))


def cer_case(probability, draws):
  truth = probability / 9 + (1 - probability) * 9 / 11
  return share_covered(
    lambda rng, seed: bootstrap.mean_interval(
      partly_memorized(rng, probability),
      ends=(0, 1),
      resamples=1000,
      seed=seed,
    ),
    truth,
    draws,
  )


def rate_case(probability, draws):
  return share_covered(
    lambda rng, seed: bootstrap.mean_interval(
      rng.random(CANARIES) < probability,
      ends=(0, 1),
      resamples=1000,
      seed=seed,
    ),
    probability,
    draws,
  )


def test_quick_look_at_error_rates():
  check(cer_case(0.5, 400), 400)


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_error_rate(probability):
  check(cer_case(probability, DRAWS))


@pytest.mark.slow
def test_extraction_rate_on_average_over_rates():
  """A binomial's coverage jumps with the rate: 93 to 97% holds on average."""
  rates = np.linspace(0.02, 0.98, 25)
  shares = [rate_case(rate, 400) for rate in rates]
  check(np.mean(shares), 400 * len(rates))
  assert min(shares) > 0.88


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_auc(shift):
  share = share_covered(
    lambda rng, seed: membership.auc_interval(
      rng.normal(-shift, 1, CANARIES),
      rng.normal(size=HOLDOUT),
      resamples=500,
      seed=seed,
    ),
    ndtr(shift / np.sqrt(2)),
    1500,
  )
  check(share, 1500)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_exposure(shift):
  rng = np.random.default_rng(1)
  truth = np.mean(
    [
      exposure.rank_exposure(
        rng.normal(-shift, 1, 400), rng.normal(size=HOLDOUT)
      ).mean()
      for _ in range(4000)
    ]
  )
  share = share_covered(
    lambda rng, seed: exposure.exposure_interval(
      rng.normal(-shift, 1, CANARIES),
      rng.normal(size=HOLDOUT),
      resamples=500,
      seed=seed,
    ),
    truth,
    1500,
  )
  check(share, 1500)


@pytest.mark.slow
@pytest.mark.parametrize("fpr", [0.01, 0.05])
@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
def test_tpr_covers_at_least_as_stated(fpr, shift):
  """A rate at a threshold that is itself estimated: on the safe side."""
  share = share_covered(
    lambda rng, seed: membership.tpr_interval(
      rng.normal(-shift, 1, CANARIES),
      rng.normal(size=HOLDOUT),
      fpr,
      resamples=500,
      seed=seed,
    ),
    ndtr(ndtri(fpr) + shift),
    800,
  )
  assert 0.925 < share <= 1.0

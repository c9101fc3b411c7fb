"""Do nominal 95% intervals hold the truth 93 to 97% of the time?"""

import numpy as np
import pytest
import scipy.stats

from tests.audit import coverage
from tf_pcc.audit import bootstrap

# Draws of the default suite and of the slow proof.
FEW, MANY = 300, 2000
NAMES = sorted(coverage.cases())
SEED_NAMES = sorted(coverage.seed_cases())
# Cheap enough for every run.
QUICK = (
  "mean, exponential",
  "mean, ties",
  "CER, 3% hallucinated",
  "AUC, ties",
  "TPR at 1% FPR",
)


def check(case, share, draws):
  # Three standard errors of the simulation itself on each side.
  slack = 3 * np.sqrt(0.95 * 0.05 / draws)
  assert case.least - slack <= share <= case.most + slack, share


@pytest.fixture(scope="module")
def cases():
  return coverage.cases()


@pytest.mark.parametrize("size", [20, 120])
@pytest.mark.parametrize("name", QUICK)
def test_quick_look(cases, name, size):
  check(cases[name], coverage.share_covered(cases[name], size, FEW), FEW)


@pytest.mark.parametrize("name", SEED_NAMES)
def test_means_over_seeds(name):
  case = coverage.seed_cases()[name]
  check(case, coverage.share_covered(case, 0, MANY), MANY)


@pytest.mark.slow
@pytest.mark.parametrize("size", coverage.SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_coverage(cases, name, size):
  draws = MANY if size == 20 else MANY // 2
  check(cases[name], coverage.share_covered(cases[name], size, draws), draws)


def test_extraction_rate_on_average_over_rates():
  """A binomial's coverage jumps with the rate: 93 to 97% holds on average.

  The interval depends on the number of hits alone, so the coverage is a sum.
  """
  count = 20
  limits = [
    bootstrap.mean_interval(
      np.arange(count) < hits, ends=(0, 1), resamples=4000
    )
    for hits in range(count + 1)
  ]
  rates = np.linspace(0.02, 0.98, 97)
  shares = np.array(
    [
      sum(
        scipy.stats.binom.pmf(hits, count, rate)
        for hits, found in enumerate(limits)
        if found.low <= rate <= found.high
      )
      for rate in rates
    ]
  )
  assert 0.93 <= shares.mean() <= 0.97
  assert shares.min() > 0.85

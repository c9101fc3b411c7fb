"""How often do the audit's nominal 95% intervals hold the truth?

  python -m tests.audit.coverage            # all cases, 600 draws each
  python -m tests.audit.coverage --draws=60

Each case draws an experiment, computes one interval, and looks whether the
truth is in it; the truth comes from a closed form or a large simulation. The
samples are of 20, 120 and 400 canaries, with 200 hold-outs, and are skewed or
tie where the name says so.
"""

import argparse
import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri

from tf_pcc.audit import bootstrap, exposure, matching, membership

SIZES = (20, 120, 400)
HOLDOUT = 200
RESAMPLES = 400
# Characters of a canary, and errors of a transcript that repeats itself.
CHARACTERS, RUNAWAY = 20, 200


@dataclasses.dataclass(frozen=True)
class Case:
  """An experiment that is repeated.

  Attributes:
    draw: function of (rng, n) -> `bootstrap.Interval`.
    truth: what it should hold.
    least: share that it covers at least, by design; most are at 0.93.
    most: share that it covers at most.
  """

  draw: Callable
  truth: float
  least: float = 0.93
  most: float = 0.97


def share_covered(case, size, draws, seed=0):
  """The share of `draws` experiments of `size` whose interval holds."""
  rng = np.random.default_rng(seed)
  hits = 0
  for _ in range(draws):
    interval = case.draw(rng, size)
    hits += interval.low <= case.truth <= interval.high
  return hits / draws


def _mean(sample, truth, **bounds):
  def draw(rng, size):
    return bootstrap.mean_interval(
      sample(rng, size), resamples=RESAMPLES, seed=rng
    )

  return Case(draw, truth, **bounds)


def _hallucinated(share):
  """CER where that share of transcripts repeats itself, as summaries do it."""

  def draw(rng, size):
    edits = rng.binomial(CHARACTERS, 0.4, size)
    edits[rng.random(size) < share] = RUNAWAY
    return bootstrap.mean_interval(
      np.minimum(edits, CHARACTERS),
      ends=(0, 1),
      sizes=np.full(size, CHARACTERS),
      resamples=RESAMPLES,
      seed=rng,
    )

  # Utterances that are otherwise alike: half an observation at each end of the
  # scale is much to them.
  return Case(draw, (1 - share) * 0.4 + share, most=0.99)


def _exposure(scores, holdout):
  return exposure.rank_exposure(scores, holdout).mean()


def _ranks(function, estimate, memorized, unseen):
  """`function` of n memorized canaries and the hold-outs."""
  rng = np.random.default_rng(1)
  truth = np.mean(
    [estimate(memorized(rng, 2000), unseen(rng, HOLDOUT)) for _ in range(600)]
  )

  def draw(rng, size):
    scores, holdout = memorized(rng, size), unseen(rng, HOLDOUT)
    return function(scores, holdout, resamples=RESAMPLES, seed=rng)

  return Case(draw, float(truth))


def _tpr(fpr, shift):
  def draw(rng, size):
    return membership.tpr_interval(
      rng.normal(-shift, 1, size),
      rng.normal(size=HOLDOUT),
      fpr,
      resamples=RESAMPLES,
      seed=rng,
    )

  # Where two of the hold-outs decide, it errs on the wide side.
  return Case(draw, float(ndtr(ndtri(fpr) + shift)), most=0.985)


def _seeds(count, sample, truth, **bounds):
  def draw(rng, size):
    del size
    return matching.mean_over_seeds(sample(rng, count))

  return Case(draw, truth, **bounds)


def normal(rng, size):
  return rng.normal(size=size)


def exponential(rng, size):
  return rng.exponential(size=size)


# Losses, lower of what is memorized: (memorized, unseen).
LOSSES = {
  "normal": (lambda rng, n: rng.normal(-1, 1, n), normal),
  "skewed": (
    lambda rng, n: rng.gamma(2, 0.4, size=n),
    lambda rng, n: rng.gamma(2, 1.0, size=n),
  ),
  "ties": (
    lambda rng, n: rng.poisson(2, n) * 1.0,
    lambda rng, n: rng.poisson(4, n) * 1.0,
  ),
}


def cases():
  """{name: Case} over canaries, each for every size."""
  found = {
    "mean, normal": _mean(normal, 0.0),
    "mean, exponential": _mean(exponential, 1.0),
    # The tail is not in the sample.
    "mean, lognormal": _mean(
      lambda rng, n: rng.lognormal(size=n), np.exp(0.5), least=0.905
    ),
    "mean, ties": _mean(lambda rng, n: rng.poisson(1, n) * 1.0, 1.0),
    "CER, 3% hallucinated": _hallucinated(0.03),
  }
  for name, losses in LOSSES.items():
    found[f"exposure, {name}"] = _ranks(
      exposure.exposure_interval, _exposure, *losses
    )
    found[f"AUC, {name}"] = _ranks(
      membership.auc_interval, membership.auc, *losses
    )
  for fpr in (0.01, 0.05):
    found[f"TPR at {fpr:.0%} FPR"] = _tpr(fpr, 2.0)
  return found


def seed_cases():
  """{name: Case} over seeds, whose size is in the name."""

  def lognormal(rng, size):
    return rng.lognormal(size=size)

  found = {}
  for count in (3, 10):
    found[f"{count} seeds, normal"] = _seeds(count, normal, 0.0)
    for name, sample, mean in (
      ("exponential", exponential, 1.0),
      ("lognormal", lognormal, float(np.exp(0.5))),
    ):
      # Student's t is for symmetric values: too narrow for a skewed mean.
      found[f"{count} seeds, {name}"] = _seeds(count, sample, mean, least=0.8)
      found[f"{count} pairs, {name}, difference"] = _seeds(
        count,
        lambda rng, n, sample=sample: sample(rng, n) - sample(rng, n),
        0.0,
        # Symmetric with long tails: on the wide side.
        most=0.99,
      )
  return found


def main():
  """Prints the coverages as a table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--draws", type=int, default=600)
  draws = parser.parse_args().draws
  print("| figure | " + " | ".join(f"n {size}" for size in SIZES) + " |")
  print("|---" * (len(SIZES) + 1) + "|")
  for name, case in cases().items():
    shares = [f"{share_covered(case, n, draws):.1%}" for n in SIZES]
    print(f"| {name} | {' | '.join(shares)} |", flush=True)
  for name, case in seed_cases().items():
    print(f"| {name} | {share_covered(case, 0, 20 * draws):.1%} | | |")


if __name__ == "__main__":
  main()

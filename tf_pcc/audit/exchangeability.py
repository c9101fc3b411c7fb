"""Could inserted and held-out canaries be told apart before any training?

Every figure of the audit compares the two and puts the difference down to
training. That is right only where nothing else tells them apart: not the length
of their texts, nor their voices, nor their speeds. A plan of `make_plan` deals
all of these evenly; one that was written by hand, or whose canaries were
filtered, may not.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

from tf_pcc.audit.canaries import Canary, CanaryPlan
from tf_pcc.data.text import normalize

# A chance of one in a thousand: audits are many, and a broken split is blatant.
ALPHA = 0.001


def exchangeability(plan: CanaryPlan) -> dict[str, Any]:
  """Tests whether inserted canaries differ from held-out ones.

  Characters and words of the texts are compared by the Mann-Whitney test,
  which is exact about ties; voices and speeds by the chi-square statistic,
  whose p-value comes from 9,999 random splits. The p-values are Holm's, so that
  the number of tests does not matter. Where speakers are inserted or held out
  as a whole, each has a voice of their own: voices are not compared.

  Args:
    plan: CanaryPlan.

  Returns:
    A dict of JSON values: p_values {"characters", "words", "voice", "speed"},
    adjusted, without voice where the plan has speakers; differs, the names
    whose p-value is below 0.001.

  Example:

  >>> from tf_pcc.audit import make_plan
  >>> plan = make_plan(voices=[{"voice": "en-US"}], kind="characters")
  >>> exchangeability(plan)["differs"]
  []
  """
  tests = {
    "characters": _ranks(plan, lambda canary: len(normalize(canary.text))),
    "words": _ranks(plan, lambda canary: len(normalize(canary.text).split())),
    "voice": _shares(plan, _voice),
    "speed": _shares(plan, lambda canary: canary.speed),
  }
  if any(canary.speaker is not None for canary in plan.all):
    del tests["voice"]
  adjusted = holm(list(tests.values()))
  p_values = dict(zip(tests, adjusted))
  return {
    "p_values": p_values,
    "differs": [name for name, p in p_values.items() if p < ALPHA],
  }


def holm(p_values: Sequence[float]) -> list[float]:
  """Holm's adjusted p-values, in the order given.

  Args:
    p_values: p-values in [0, 1].

  Returns:
    List of as many floats in [0, 1].

  Example:

  >>> holm([0.01, 0.04, 0.03])
  [0.03, 0.06, 0.06]
  """
  order = np.argsort(p_values)
  left = len(p_values) - np.arange(len(p_values))
  raised = np.maximum.accumulate(np.asarray(p_values)[order] * left)
  adjusted = np.empty(len(p_values))
  adjusted[order] = np.minimum(raised, 1)
  return adjusted.tolist()


def _voice(canary: Canary) -> str:
  return json.dumps(canary.voice, sort_keys=True)


def _ranks(plan, measure):
  inserted = [measure(canary) for canary in plan.canaries]
  held_out = [measure(canary) for canary in plan.holdout]
  if len({*inserted, *held_out}) == 1:
    return 1.0
  return float(scipy.stats.mannwhitneyu(inserted, held_out).pvalue)


def _shares(plan, name):
  names, codes = np.unique(
    [str(name(canary)) for canary in plan.all], return_inverse=True
  )
  if len(names) == 1:
    return 1.0
  totals = np.bincount(codes)
  expected = totals * len(plan.canaries) / len(codes)

  def statistic(inserted):
    counts = np.bincount(inserted, minlength=len(names))
    return np.sum((counts - expected) ** 2 / expected)

  found = statistic(codes[: len(plan.canaries)])
  rng = np.random.default_rng(0)
  # Hypergeometric counts are what random splits have.
  drawn = rng.multivariate_hypergeometric(totals, len(plan.canaries), size=9999)
  random = np.sum((drawn - expected) ** 2 / expected, axis=1)
  return float((1 + np.sum(random >= found - 1e-9)) / 10000)

"""A fair coin decides for every canary whether it is inserted.

Without coins the hold-out and the canaries are two lists, and only their
average difference can be put down to training. With a coin for each canary,
known to nobody but the plan, guessing its side is a game whose odds are known:
`one_run` turns the guesses into a bound on epsilon. Runs with other coins give
every canary's scores with and without it in training: `counterfactual`.
"""

import dataclasses

import numpy as np

from tf_pcc.audit.canaries import CanaryPlan


def flip_coins(plan: CanaryPlan, seed: int) -> CanaryPlan:
  """The plan with about half of its canaries held out, by fair coins.

  Canaries whose coin says no go to the end of the hold-out. Each canary keeps
  in `coin` how often it is, or would have been, inserted; `settings` gets the
  coin_seed. The texts, voices and speeds are those of `plan`, so runs with
  different seeds differ in the coins alone.

  Args:
    plan: A CanaryPlan without coins.
    seed: Integer of at least 0: equal seeds, equal coins.

  Returns:
    A CanaryPlan.

  Raises:
    ValueError: If coins were flipped already, speakers are inserted as a whole,
      the seed is negative, or no coin says yes.

  Example:

  >>> from tf_pcc.audit import make_plan
  >>> plan = make_plan(voices=[{"voice": "en-US"}], kind="characters")
  >>> flipped = flip_coins(plan, seed=1)
  >>> len(flipped.canaries) + len(flipped.holdout) == len(plan.all)
  True
  >>> unflipped(flipped) == plan
  True
  """
  if any(c.coin is not None or c.speaker is not None for c in plan.all):
    raise ValueError(
      "plan must have neither coins nor speakers: flip the coins of a plan "
      "that make_plan drew without by_speaker. Received: by_speaker="
      f"{plan.settings.get('by_speaker')}, "
      f"coin_seed={plan.settings.get('coin_seed')}"
    )
  if seed < 0:
    raise ValueError(f"seed must be at least 0. Received: seed={seed!r}")
  heads = np.random.default_rng(seed).integers(2, size=len(plan.canaries))
  if not heads.any():
    raise ValueError(
      "seed: no canary's coin says yes, so nothing would be inserted; plan "
      f"more canaries or take another seed. Received: {seed=!r}, "
      f"{len(plan.canaries)} canaries"
    )
  tossed = [dataclasses.replace(c, coin=c.repetitions) for c in plan.canaries]
  inserted = tuple(c for c, head in zip(tossed, heads) if head)
  out = tuple(
    dataclasses.replace(c, repetitions=0)
    for c, head in zip(tossed, heads)
    if not head
  )
  return dataclasses.replace(
    plan,
    canaries=inserted,
    holdout=plan.holdout + out,
    settings={**plan.settings, "coin_seed": seed},
  )


def unflipped(plan: CanaryPlan) -> CanaryPlan:
  """The plan before `flip_coins`; one without coins is returned as it is.

  Args:
    plan: CanaryPlan.

  Returns:
    A CanaryPlan, equal for all seeds of the coins.
  """
  if all(canary.coin is None for canary in plan.all):
    return plan
  order = list(plan.settings.get("repetitions", ()))

  def place(canary):
    count = canary.coin
    return (order.index(count) if count in order else count, canary.id)

  tossed = sorted((c for c in plan.all if c.coin is not None), key=place)
  settings = {k: v for k, v in plan.settings.items() if k != "coin_seed"}
  return dataclasses.replace(
    plan,
    canaries=tuple(c for c in plan.canaries if c.coin is None)
    + tuple(
      dataclasses.replace(c, repetitions=c.coin, coin=None) for c in tossed
    ),
    holdout=tuple(c for c in plan.holdout if c.coin is None),
    settings=settings,
  )

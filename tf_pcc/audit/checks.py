"""Checks of what the audit is given: scores, hold-outs, levels."""

import numpy as np
from numpy.typing import ArrayLike

# Below twenty hold-out canaries a rank has under 4.4 bits and a false-positive
# rate moves in steps of more than 5%: no figure of the audit means anything.
SMALLEST_HOLDOUT = 20
# Inserted, and held out: of nine speakers a rate moves in steps of 11%, and the
# interval of an AUC is as wide as 0.2 to 0.8.
SMALLEST_SPEAKERS = 10


def as_scores(name: str, values: ArrayLike, smallest: int = 1) -> np.ndarray:
  """`values` as a float64 vector of scores without NaN.

  Args:
    name: The argument's name, for the message.
    values: Array-like, shape [n], any real dtype.
    smallest: The least number of scores allowed.

  Returns:
    A float64 array of shape [n].

  Raises:
    ValueError: If they have another rank, are too few, or one is NaN.
  """
  scores = np.asarray(values, dtype=np.float64)
  if scores.ndim != 1:
    raise ValueError(
      f"{name} must be a vector with one score a canary. "
      f"Received: {name} of shape {scores.shape}"
    )
  if scores.size < smallest:
    raise ValueError(
      f"{name} must hold at least {smallest} scores; plan more canaries. "
      f"Received: {name} with {scores.size} scores"
    )
  nan = np.flatnonzero(np.isnan(scores))
  if nan.size:
    raise ValueError(
      f"{name} must not be NaN, which has no rank: the recogniser diverged, or "
      "has no labels for these texts. Audit an earlier checkpoint, or one that "
      "was trained with this plan. "
      f"Received: {name}[i] = nan for i in {nan[:10].tolist()}"
      f"{' and more' if nan.size > 10 else ''}"
    )
  return scores


def as_fraction(name: str, value: float, closed: bool = False) -> float:
  """Checks that a number is a fraction.

  Args:
    name: name of the argument, for the message.
    value: number.
    closed: whether 0 is allowed. Default False.

  Returns:
    `value` as a float in (0, 1), or [0, 1) where `closed`.

  Raises:
    ValueError: If it is outside.
  """
  inside = 0 <= value < 1 if closed else 0 < value < 1
  if not inside:
    raise ValueError(
      f"{name} must be a fraction between 0 and 1 (0.01 means 1%). "
      f"Received: {name}={value!r}"
    )
  return float(value)

"""Whether the update is divided by the bound of the step.

With an adaptive bound rho falls as training goes on. Adam cancels a constant
factor of the gradients but not one that falls: its second moments remember the
large gradients of the start, and every step is too small by a factor nobody
chose. `normalize` removes it by dividing the update by rho, so that a unit
counts `g * min(1 / rho, 1 / ||g||)`. The authors' public code has the same
(paxml, `normalize_gradients`).

| bound            | optimizer                 | normalize="auto" |
|------------------|---------------------------|------------------|
| fixed, infinite  | any                       | no               |
| adaptive         | invariant to the scale    | yes              |
| adaptive         | SGD, Ftrl, unknown        | no               |
| compares units   | any, and there is one     | no               |
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

# Optimizers whose step is the same when all gradients, from the first on, are
# multiplied by one number, up to their epsilon. Later Keras versions have more.
_INVARIANT = (
  "Adadelta",
  "Adafactor",
  "Adam",
  "AdamW",
  "Adamax",
  "Lamb",
  "Lion",
  "Muon",
  "Nadam",
  "RMSprop",
  "ScheduleFreeAdamW",
)


def is_scale_invariant(optimizer: keras.optimizers.Optimizer) -> bool:
  """Whether one factor on all gradients leaves an optimizer's steps alone.

  | optimizer                                 | invariant                      |
  |-------------------------------------------|--------------------------------|
  | Adam, AdamW, Adamax, Nadam, Lamb, Muon,   | yes                            |
  | Adafactor, ScheduleFreeAdamW              |                                |
  | Lion                                      | exactly: it takes signs        |
  | RMSprop, Adadelta                         | yes; epsilon, under the root,  |
  |                                           | is large: 1e-7 there is a      |
  |                                           | gradient of 3e-4               |
  | Adagrad                                   | when it starts at 0; the       |
  |                                           | default of                     |
  |                                           | initial_accumulator_value, 0.1,|
  |                                           | is in units of the gradient    |
  | SGD, Ftrl                                 | no                             |

  Args:
    optimizer: `keras.optimizers.Optimizer`. A class that is not Keras' own
      counts as the Keras optimizer it derives from, or as not invariant.

  Returns:
    bool.
  """
  if isinstance(optimizer, keras.optimizers.Adagrad):
    return optimizer.initial_accumulator_value == 0
  known = tuple(
    getattr(keras.optimizers, name)
    for name in _INVARIANT
    if hasattr(keras.optimizers, name)
  )
  return isinstance(optimizer, known)


def check(normalize: bool | str, bound: Any) -> None:
  """Refuses a value that is none, and division by infinity.

  Args:
    normalize: what `tf_pcc.Clipping` was given.
    bound: `tf_pcc.bounds.Bound`.

  Raises:
    ValueError: If it is one of these.
  """
  if not isinstance(normalize, bool) and normalize != "auto":
    raise ValueError(
      f'normalize must be "auto", True or False. Received: {normalize=}'
    )
  fixed = bound.fixed_value
  if normalize is True and fixed is not None and not _finite(fixed):
    raise ValueError(
      "normalize must not be True with an infinite bound, which nothing can be "
      "divided by: give a finite bound, or normalize=False. "
      f"Received: {normalize=}, {bound=}"
    )


def resolve(
  normalize: bool | str,
  bound: Any,
  optimizer: keras.optimizers.Optimizer,
  units: int,
) -> bool:
  """Whether the update is divided by the bound: what "auto" means.

  Args:
    normalize: "auto", True or False.
    bound: `tf_pcc.bounds.Bound`.
    optimizer: the `keras.optimizers.Optimizer` that takes the step.
    units: int, how many are clipped on their own in a step, over all cores.

  Returns:
    bool.

  Raises:
    ValueError: If True where the only unit has no other to compare with: its
      norm would be all that is divided by, and nothing be clipped.
  """
  alone = units == 1 and bound.compares_units
  if normalize is True and alone:
    raise ValueError(
      "normalize must not be True with an adaptive bound on one core without "
      "micro-batches, where nothing is clipped: use more cores, microbatches "
      f"or a FixedBound. Received: {normalize=}, {bound=}"
    )
  if isinstance(normalize, bool):
    return normalize
  adaptive = bound.fixed_value is None
  return adaptive and not alone and is_scale_invariant(optimizer)


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
  """A config of any version: those without the field did not divide.

  Args:
    config: dict from `get_config`.

  Returns:
    dict with `normalize`.
  """
  return {"normalize": False, **config}


def _finite(value):
  with np.errstate(over="ignore"):
    return bool(np.isfinite(np.float32(value)))

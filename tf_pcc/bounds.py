"""Where the bound rho of a step comes from.

A bound sees the norms of all units of the step: one unit a core, or one a
micro-batch when each core's batch is cut. It never sees a gradient.

| class           | method                   | rho                             |
|-----------------|--------------------------|---------------------------------|
| `FixedBound`    | PCC                      | a number                        |
| `MinBound`      | APCC                     | the smallest norm of this step  |
| `QuantileBound` | APCC with a quantile     | a quantile of this step's norms |
| `RunningBound`  | APCC, running statistics | a statistic of running norms    |

`RunningBound` is in running_bound.py. Sources: Wang et al., Interspeech 2024
(arXiv 2406.02004) for PCC and APCC; Wang, ICLR 2025 (arXiv 2408.16204) for
micro-batches.
"""

import math
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class Bound:
  """Base class: chooses rho from the norms of one step.

  Subclasses implement `compute`, and `state_names` when they keep state, which
  is one float32 slot a unit. `observe` is for state that a unit can keep of
  itself, from its own norm; `compute` sees all units.
  """

  @property
  def fixed_value(self) -> float | None:
    """rho as a float when it needs no norms, else None."""
    return None

  @property
  def compares_units(self) -> bool:
    """Whether a single unit, which has no other to compare with, is unclipped.

    True by default for what is not a number.
    """
    return self.fixed_value is None

  def local_bound(self, normalize: bool) -> float | None:
    """What clips a core's units without waiting for the other cores' norms.

    Args:
      normalize: bool, whether the update is divided by the bound.

    Returns:
      A float that gives the same factors as rho (`clipping.clip_factor`), or
      None when they depend on norms of other cores.
    """
    del normalize
    return self.fixed_value

  @property
  def state_names(self) -> tuple[str, ...]:
    """Names of the per-unit state vectors."""
    return ()

  def observe(
    self, norms: tf.Tensor, live: tf.Tensor, state: dict[str, tf.Tensor]
  ) -> dict[str, tf.Tensor]:
    """The state after this step's norms, each unit's from its own alone.

    Every core calls it for its own units, before it knows of the others.

    Args:
      norms: float32 [some units], norms of the per-unit mean gradients. What is
        not live holds anything, NaN included.
      live: bool [some units].
      state: dict from each of `state_names` to float32 [some units].

    Returns:
      dict like `state`.
    """
    del norms, live
    return state

  def compute(
    self, norms: tf.Tensor, live: tf.Tensor, state: dict[str, tf.Tensor]
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The bound of this step and the new state.

    Args:
      norms: float32 [units], as `observe` has seen those of each core.
      live: bool [units]. At least one is true, or the result is not used.
      state: dict from each of `state_names` to float32 [units], what `observe`
        made of it.

    Returns:
      rho as a float32 scalar, and a dict like `state`.
    """
    raise NotImplementedError(f"{type(self).__name__} must implement compute.")

  def resize_state(
    self, state: dict[str, np.ndarray], units: int
  ) -> dict[str, np.ndarray]:
    """What the state of another number of cores means here.

    Args:
      state: dict of NumPy float32 [old units].
      units: the new number of units.

    Returns:
      dict of NumPy float32 [units].
    """
    return {name: np.resize(value, units) for name, value in state.items()}

  def upgrade_state(
    self, state: dict[str, np.ndarray]
  ) -> dict[str, np.ndarray] | None:
    """What the state of an older version of this bound means here.

    Args:
      state: dict of NumPy float32 [units], of any names.

    Returns:
      dict of the `state_names`, or None when there is nothing to convert.
    """
    del state
    return None

  def get_config(self) -> dict[str, Any]:
    """The constructor's arguments."""
    return {}

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> "Bound":
    """The inverse of `get_config`.

    Args:
      config: what `get_config` returned.

    Returns:
      A bound of this class.
    """
    return cls(**config)

  def __repr__(self):
    arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
    return f"{type(self).__name__}({arguments})"


@keras.saving.register_keras_serializable("tf_pcc")
class FixedBound(Bound):
  """PCC: rho is a number.

  Args:
    norm: float above zero, in units of the norm of a core's mean gradient,
      whatever the number of cores. Infinity clips nothing.

  Raises:
    ValueError: If `norm` is zero, negative, NaN or not a number.
  """

  def __init__(self, norm: float):
    self.norm = positive_number("norm", norm)

  @property
  def fixed_value(self) -> float:
    return self.norm

  def compute(
    self, norms: tf.Tensor, live: tf.Tensor, state: dict[str, tf.Tensor]
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The bound of this step; see `Bound.compute`.

    Args:
      norms: as in `Bound.compute`.
      live: as in `Bound.compute`.
      state: as in `Bound.compute`.

    Returns:
      rho as a float32 scalar, and the state.
    """
    return tf.constant(self.norm, tf.float32), state

  def get_config(self) -> dict[str, Any]:
    return {"norm": self.norm}


@keras.saving.register_keras_serializable("tf_pcc")
class QuantileBound(Bound):
  """APCC with a quantile of this step's norms over the live units.

  Args:
    quantile: float in [0, 1], linearly interpolated as `numpy.quantile` does. 0
      is `MinBound`.
  """

  def __init__(self, quantile: float = 0.5):
    self.quantile = fraction("quantile", quantile)

  def compute(
    self, norms: tf.Tensor, live: tf.Tensor, state: dict[str, tf.Tensor]
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The bound of this step; see `Bound.compute`.

    Args:
      norms: as in `Bound.compute`.
      live: as in `Bound.compute`.
      state: as in `Bound.compute`.

    Returns:
      rho as a float32 scalar, and the state.
    """
    return quantile_of(norms, live, self.quantile), state

  def get_config(self) -> dict[str, Any]:
    return {"quantile": self.quantile}


@keras.saving.register_keras_serializable("tf_pcc")
class MinBound(Bound):
  """APCC: rho is the smallest norm among the live units of this step.

  Nothing is tuned and nothing is remembered. Every unit ends at the same norm,
  so the update is `rho * mean(g / ||g||)`. With one core and no micro-batches
  there is nothing to compare with, and nothing is clipped. Divided by the bound
  (`normalize` of `tf_pcc.Clipping`) the update is `mean(g / ||g||)`, and no
  gradient waits for another core's norm.
  """

  def local_bound(self, normalize: bool) -> float | None:
    # No norm is below the smallest: each unit is divided by its own.
    """0 where the update is divided by the bound; see `Bound.local_bound`.

    Args:
      normalize: whether the update is divided by the bound.

    Returns:
      0.0 or None.
    """
    return 0.0 if normalize else None

  def compute(
    self, norms: tf.Tensor, live: tf.Tensor, state: dict[str, tf.Tensor]
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The bound of this step; see `Bound.compute`.

    Args:
      norms: as in `Bound.compute`.
      live: as in `Bound.compute`.
      state: as in `Bound.compute`.

    Returns:
      rho as a float32 scalar, and the state.
    """
    return tf.reduce_min(tf.where(live, norms, np.inf)), state


def get(identifier: Bound | float | dict[str, Any]) -> Bound:
  """A `Bound` from a bound, a number (PCC) or a serialised bound.

  Args:
    identifier: `Bound`, a number above zero, or a dict made by
      `keras.saving.serialize_keras_object`.

  Returns:
    A `Bound`.

  Raises:
    ValueError: If it is none of these.
  """
  if isinstance(identifier, dict):
    identifier = keras.saving.deserialize_keras_object(identifier)
  if isinstance(identifier, Bound):
    return identifier
  if isinstance(identifier, numbers.Real) and not isinstance(identifier, bool):
    return FixedBound(float(identifier))
  raise ValueError(
    "bound must be a tf_pcc bound such as FixedBound(2.5) or MinBound(), or a "
    f"number above zero. Received: bound={identifier!r}"
  )


def positive_number(name: str, value: Any) -> float:
  """A value as a float above zero.

  Args:
    name: the field's, for the message.
    value: the value.

  Returns:
    The float.

  Raises:
    ValueError: If it is no number, or not above zero.
  """
  if not isinstance(value, numbers.Real) or isinstance(value, bool):
    raise ValueError(
      f"{name} must be a number above zero. Received: {name}={value!r}"
    )
  if math.isnan(value) or value <= 0:
    raise ValueError(f"{name} must be above zero. Received: {name}={value!r}")
  return float(value)


def fraction(name: str, value: Any) -> float:
  """A value as a float from 0 to 1.

  Args:
    name: the field's, for the message.
    value: the value.

  Returns:
    The float.

  Raises:
    ValueError: If it is no number, or outside.
  """
  if (
    not isinstance(value, numbers.Real)
    or isinstance(value, bool)
    or not 0 <= float(value) <= 1
  ):
    raise ValueError(
      f"{name} must be a number from 0 to 1. Received: {name}={value!r}"
    )
  return float(value)


def quantile_of(
  values: tf.Tensor, live: tf.Tensor, quantile: float
) -> tf.Tensor:
  """Linearly interpolated quantile over the live values, static shapes only.

  Args:
    values: float32 [units].
    live: bool [units], which of them count; one at least.
    quantile: from 0 to 1.

  Returns:
    float32 scalar.
  """
  ordered = tf.sort(tf.where(live, values, np.inf))
  last = tf.reduce_sum(tf.cast(live, tf.float32)) - 1.0
  place = tf.maximum(quantile * last, 0.0)
  below = tf.cast(tf.floor(place), tf.int32)
  above = tf.cast(tf.math.ceil(place), tf.int32)
  low, high = tf.gather(ordered, below), tf.gather(ordered, above)
  # Two equal ends need no interpolation, and may both be infinite.
  share = place - tf.floor(place)
  return tf.where(share > 0, low + share * (high - low), low)

"""APCC on running norm statistics that every core keeps of itself.

Averages are of logarithms, so that a norm 1e14 times too large for one step is
one number among others and not all that is remembered. The running form and its
defaults are this package's; the paper (Wang et al., Interspeech 2024, arXiv
2406.02004) takes the smallest norm of each step.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_pcc import bounds

# Outliers in a row that are no accident.
_NEW_LEVEL = 3


@keras.saving.register_keras_serializable("tf_pcc")
class RunningBound(bounds.Bound):
  """APCC on a statistic of every unit's running norm.

  Unit i keeps an exponential average of the logarithms of its own norms,
  corrected for its start as Adam's moments are; its running norm is the
  exponential of that. rho is a statistic of the running norms of the units that
  are live in this step. A unit that is not live leaves its average as it was.

  Outliers do not move the bound:

  | what                                | what it does                        |
  |-------------------------------------|-------------------------------------|
  | a norm more than `outlier_factor`   | counts as `outlier_factor` times    |
  | times off the unit's running norm   | that; the unit is left out of this  |
  |                                     | step's statistic                    |
  | the third in a row, the same way    | a new level: the average starts     |
  |                                     | again from it                       |
  | a running norm as much off the      | is left out of the statistic        |
  | median of the live units            |                                     |

  Units are left out only while others remain.

  The first norm of a unit is all that is known of it and counts in full. Two
  units have no majority, and the minimum is that of both.

  With decay 0 there is no past: the statistic is that of this step's norms,
  outliers included, and with the minimum this is `MinBound` bit for bit.

  Restored under another number of units, the new slots take evenly spaced
  quantiles of the old averages: smallest and largest stay, cores being
  interchangeable.

  Args:
    decay: float in [0, 1): the weight of the past.
    statistic: "min", "median", "mean" (the geometric one) or "quantile" over
      the live units.
    quantile: float in [0, 1], used by statistic="quantile" only, interpolated
      linearly between logarithms.
    outlier_factor: float above 1; infinity leaves nothing out.

  Raises:
    ValueError: If an argument is outside these ranges.

  Example:

  >>> bound = RunningBound(0.9)
  >>> state = {name: tf.zeros(3) for name in bound.state_names}
  >>> live = tf.constant([True] * 3)
  >>> for norms in [[2.0, 3.0, 4.0]] * 20 + [[1e15, 3.0, 1e-12]]:
  ...   state = bound.observe(tf.constant(norms), live, state)
  ...   rho, _ = bound.compute(tf.constant(norms), live, state)
  >>> print(f"{float(rho):.1f}")
  3.0
  """

  STATISTICS = ("min", "median", "mean", "quantile")

  def __init__(
    self,
    decay: float = 0.99,
    statistic: str = "min",
    quantile: float = 0.5,
    outlier_factor: float = 10.0,
  ):
    decay = bounds.fraction("decay", decay)
    if decay == 1.0:
      raise ValueError(f"decay must be below 1. Received: decay={decay}")
    if statistic not in self.STATISTICS:
      raise ValueError(
        f"statistic must be one of {self.STATISTICS}. "
        f"Received: statistic={statistic!r}"
      )
    self.decay = decay
    self.statistic = statistic
    self.quantile = bounds.fraction("quantile", quantile)
    self.outlier_factor = bounds.positive_number(
      "outlier_factor", outlier_factor
    )
    if self.outlier_factor <= 1:
      raise ValueError(
        "outlier_factor must be above 1. "
        f"Received: outlier_factor={outlier_factor}"
      )

  @property
  def compares_units(self) -> bool:
    # One unit is compared with its own past.
    return self.decay == 0

  @property
  def state_names(self) -> tuple[str, ...]:
    # How many outliers came in a row until now, negative if too small.
    return ("log_average", "weight", "outliers")

  def observe(
    self, norms: tf.Tensor, live: tf.Tensor, state: dict[str, tf.Tensor]
  ) -> dict[str, tf.Tensor]:
    """The running norms with this step's; see `Bound.observe`.

    Args:
      norms: as in `Bound.compute`.
      live: as in `Bound.compute`.
      state: as in `Bound.compute`.

    Returns:
      dict like the state.
    """
    average, weight, outliers = (state[name] for name in self.state_names)
    limit = math.log(self.outlier_factor)
    # Without a past nothing is a surprise.
    known = (weight > 0) & (self.decay > 0)
    surprise = tf.math.log(tf.where(live, norms, 1.0)) - average
    sign = tf.sign(surprise)
    row = tf.where(outliers * sign > 0, outliers, 0.0) + sign
    row = tf.where(known & (tf.abs(surprise) > limit), row, 0.0)
    starts = tf.logical_not(known) | (tf.abs(row) >= _NEW_LEVEL)
    counted = tf.where(
      starts, surprise, tf.clip_by_value(surprise, -limit, limit)
    )
    grown = self.decay * tf.where(starts, 0.0, weight) + (1.0 - self.decay)
    moved = average + (1.0 - self.decay) / grown * counted
    row = tf.where(starts, 0.0, row)
    return {
      name: tf.where(live, new, state[name])
      for name, new in zip(self.state_names, (moved, grown, row))
    }

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
    if self.decay == 0 and self.statistic == "min":
      # The logarithm would cost the last bit.
      return bounds.MinBound().compute(norms, live, {})[0], state
    logs = state["log_average"]
    counted = live
    if self.decay > 0:
      center = bounds.quantile_of(logs, live, 0.5)
      near = tf.abs(logs - center) <= math.log(self.outlier_factor)
      calm = tf.equal(state["outliers"], 0.0)
      for kept in (near, calm):
        kept &= counted
        counted = tf.where(tf.reduce_any(kept), kept, counted)
    if self.statistic == "mean":
      count = tf.reduce_sum(tf.cast(counted, tf.float32))
      log_bound = tf.reduce_sum(tf.where(counted, logs, 0.0)) / count
    else:
      quantile = {"min": 0.0, "median": 0.5}.get(self.statistic, self.quantile)
      log_bound = bounds.quantile_of(logs, counted, quantile)
    return tf.exp(log_bound), state

  def resize_state(
    self, state: dict[str, np.ndarray], units: int
  ) -> dict[str, np.ndarray]:
    """Running norms for another number of units; see `Bound.resize_state`.

    Args:
      state: as in `Bound.compute`.
      units: the new number of units.

    Returns:
      dict of NumPy float32 [units].
    """
    known = state["weight"] > 0
    if not known.any():
      return {name: np.zeros(units, np.float32) for name in self.state_names}
    spread = np.quantile(
      state["log_average"][known], np.linspace(0.0, 1.0, units)
    )
    return {
      "log_average": spread.astype(np.float32),
      # As much is known of each as of the least known.
      "weight": np.full(units, state["weight"][known].min(), np.float32),
      "outliers": np.zeros(units, np.float32),
    }

  def upgrade_state(
    self, state: dict[str, np.ndarray]
  ) -> dict[str, np.ndarray] | None:
    """The state of an older version; see `Bound.upgrade_state`.

    Args:
      state: as in `Bound.compute`.

    Returns:
      dict of the `state_names`, or None.
    """
    if "average" not in state:
      return None
    weight = state["weight"]
    known = weight > 0
    average = np.divide(
      state["average"], weight, where=known, out=np.ones_like(weight)
    )
    return {
      "log_average": np.log(average, where=known, out=np.zeros_like(average)),
      "weight": weight,
      "outliers": np.zeros_like(weight),
    }

  def get_config(self) -> dict[str, Any]:
    return {
      "decay": self.decay,
      "statistic": self.statistic,
      "quantile": self.quantile,
      "outlier_factor": self.outlier_factor,
    }

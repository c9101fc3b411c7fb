"""The specification of clipping: what both APIs, model and optimizer, take."""

import dataclasses
from typing import Any

import keras
import numpy as np

from tf_pcc import bounds, normalization

DEAD_CORES = ("fixed", "live")
CORE_WEIGHTS = ("equal", "examples")


@keras.saving.register_keras_serializable("tf_pcc")
@dataclasses.dataclass(frozen=True)
class Clipping:
  """What `tf_pcc.PerCoreModel.compile(clipping=...)` takes.

  A unit is what is clipped on its own: a core's batch, or each of its
  `microbatches` parts.

  Args:
    bound: `tf_pcc.FixedBound`, `MinBound`, `QuantileBound`, `RunningBound`, or
      a number above zero for a fixed bound. In units of the norm of the unit's
      mean gradient.
    microbatches: int of at least 1; each core's batch is cut in this many equal
      parts. The per-core batch size makes it per-example clipping. A fixed
      bound needs memory for one more set of gradients, the others for
      `microbatches` sets, because their bound depends on all norms.
    batch_clip_norm: None, or a number above zero: the aggregated gradient is
      clipped to this norm afterwards (batch clipping). It costs a second
      all-reduce of the gradients. Where the update is divided by the bound it
      is in units of the bound: from 1 on it does nothing.
    dead_cores: what the sum of the clipped gradients is divided by when a unit
      is not live (zero, NaN or infinite gradient): "fixed", all units, so the
      step shrinks; or "live", the live ones.
    core_weights: "equal", the mean of the cores' means as an unclipped Keras
      run gives; or "examples", each core counts by the rows of its batch, for
      uneven batches.
    track_cosine: whether to measure cos(update, unclipped mean), at the price
      of one or two more all-reduces of the gradients.
    normalize: whether the update is divided by the bound of the step, so that
      a unit's factor is `min(1 / rho, 1 / ||g||)`. False is the paper's form.
      True with a fixed bound is nothing but a change of the learning rate. An
      infinite bound cannot be divided by, nor one that compares units where
      there is only one. "auto": True when the bound adapts and the optimizer is
      invariant to the gradient's scale (`normalization.is_scale_invariant`:
      Adam and its kin), False for SGD, fixed bounds and one unit.

  What `normalize` does to the learning rate: every unit of the divided update
  has a norm of at most 1. A step of SGD is then at most the learning rate long,
  and no longer the learning rate times rho: a rate that was tuned without must
  be multiplied by rho, and it no longer falls as rho does. Adam divides by the
  size that gradients had in the last 1 / (1 - beta_2) steps. A constant rho
  makes no difference to it, but rho falls in training, and every step is then
  too small by the ratio of rho to what it was; divided by rho, the learning
  rate means what it says. Entries of the divided update are of the size of
  1 / sqrt(number of weights), to be compared with the optimizer's epsilon.

  Raises:
    ValueError: If an argument is outside these ranges.
  """

  # A `Bound`, whatever it was made from.
  bound: Any
  microbatches: int = 1
  batch_clip_norm: float | None = None
  dead_cores: str = "fixed"
  core_weights: str = "equal"
  track_cosine: bool = False
  normalize: bool | str = "auto"

  def __post_init__(self):
    def put(name, value):
      object.__setattr__(self, name, value)

    put("bound", bounds.get(self.bound))
    if (
      not isinstance(self.microbatches, (int, np.integer))
      or isinstance(self.microbatches, bool)
      or self.microbatches < 1
    ):
      raise ValueError(
        "microbatches must be a whole number of at least 1. "
        f"Received: microbatches={self.microbatches!r}"
      )
    if self.batch_clip_norm is not None:
      put(
        "batch_clip_norm",
        bounds.positive_number("batch_clip_norm", self.batch_clip_norm),
      )
    for name, known in (
      ("dead_cores", DEAD_CORES),
      ("core_weights", CORE_WEIGHTS),
    ):
      if getattr(self, name) not in known:
        raise ValueError(
          f"{name} must be one of {known}. "
          f"Received: {name}={getattr(self, name)!r}"
        )
    normalization.check(self.normalize, self.bound)

  def get_config(self) -> dict[str, Any]:
    """The constructor's arguments, the bound serialised."""
    config = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    config["bound"] = keras.saving.serialize_keras_object(self.bound)
    return config

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> "Clipping":
    """The inverse of `get_config`.

    Args:
      config: what `get_config` returned.

    Returns:
      A `Clipping`.
    """
    return cls(**normalization.complete(config))

"""The fields of a transducer that is trained with the pruned loss."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.losses import transducer_pruned

# Weight of the pruned loss before the first step of a warm-up.
_FIRST_PRUNED = 0.1


@dataclasses.dataclass(frozen=True)
class PruningConfig:
  """How the pruned loss and the loss that chooses its windows are trained.

  The loss is simple_scale * simple + pruned. While the windows still say
  nothing a warm-up may lean on the simple loss: its weight falls linearly from
  1 to simple_scale, that of the pruned loss rises from 0.1 to 1.

  Attributes:
    window: int, columns of the lattice that are kept in each frame, at least 2;
      an utterance may have window - 1 labels a frame.
    simple_scale: float above 0, weight of the additive joint network's loss.
    lm_only_scale: float, share of the prediction network alone in that loss.
    am_only_scale: float, share of the encoder alone, both together at most 1.
    warmup_steps: int, optimizer steps of the warm-up; 0: none.

  Raises:
    ValueError: If a value is none of those.
  """

  window: int = 5
  simple_scale: float = 0.5
  lm_only_scale: float = 0.25
  am_only_scale: float = 0.0
  warmup_steps: int = 0

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value, kind = getattr(self, field.name), type(field.default)
      known = (int,) if kind is int else (int, float)
      if isinstance(value, bool) or not isinstance(value, known):
        raise ValueError(
          f"pruning.{field.name} must be {kind.__name__}. "
          f"Received: pruning.{field.name}={value!r}"
        )
    transducer_pruned.check(self.window, self.lm_only_scale, self.am_only_scale)
    if not 0 < self.simple_scale < math.inf:
      raise ValueError(
        "pruning.simple_scale must be above 0, or nothing would teach where "
        "the windows go. Received: "
        f"pruning.simple_scale={self.simple_scale}"
      )
    if self.warmup_steps < 0:
      raise ValueError(
        "pruning.warmup_steps must be at least 0. "
        f"Received: pruning.warmup_steps={self.warmup_steps}"
      )

  def scales(
    self, step: tf.types.experimental.TensorLike | None
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights of the simple and of the pruned loss.

    Args:
      step: int scalar, optimizer steps taken, or None for after the warm-up.

    Returns:
      Two float32 scalars.

    Example:
      >>> config = PruningConfig(simple_scale=0.5, warmup_steps=100)
      >>> ["%.2f" % scale for scale in config.scales(50)]
      ['0.75', '0.55']
    """
    if step is None or not self.warmup_steps:
      done = tf.constant(1.0)
    else:
      done = tf.cast(tf.convert_to_tensor(step), tf.float32)
      done = tf.minimum(done / self.warmup_steps, 1.0)
    return (
      1.0 - done * (1.0 - self.simple_scale),
      _FIRST_PRUNED + done * (1.0 - _FIRST_PRUNED),
    )


def of_loss(
  loss: str, fields: Mapping[str, Any] | None
) -> PruningConfig | None:
  """The config of a model's loss.

  Args:
    loss: "full" or "pruned".
    fields: of `PruningConfig`, or None; none for "full".

  Returns:
    A `PruningConfig`, or None for "full".

  Raises:
    ValueError: If a value is not one of those.
  """
  if loss not in ("full", "pruned"):
    raise ValueError(
      f"loss must be one of ['full', 'pruned']. Received: loss={loss!r}"
    )
  fields = dict(fields or {})
  if loss == "pruned":
    return PruningConfig(**fields)
  if fields:
    raise ValueError(
      "pruning is for loss='pruned' alone; set that, or leave its fields out. "
      f"Received: loss={loss!r}, pruning={fields}"
    )
  return None

"""Learning rates over the steps of a run."""

from typing import Any

import keras
import tensorflow as tf
from absl import logging
from ml_collections import config_dict


def make_schedule(
  config: config_dict.ConfigDict,
) -> float | keras.optimizers.schedules.LearningRateSchedule:
  """The learning rate over `config.steps` steps, as Keras takes it.

  Args:
    config: the experiment's `ConfigDict`.

  Returns:
    The rate, or a schedule of it.

  Raises:
    ValueError: If the schedule is unknown.
  """
  fields = config.optimizer
  peak, warmup = fields.learning_rate, fields.warmup_steps
  if warmup >= config.steps:
    warmup = config.steps // 2
    # Once: the optimizer is made before the run opens too, to be refused early.
    logging.log_first_n(
      logging.WARNING,
      "optimizer.warmup_steps=%d does not fit in %d steps: %d are used",
      1,
      fields.warmup_steps,
      config.steps,
      warmup,
    )
  if fields.schedule == "constant" and not warmup:
    return peak
  if fields.schedule == "cosine":
    return keras.optimizers.schedules.CosineDecay(
      initial_learning_rate=0.0 if warmup else peak,
      decay_steps=config.steps - warmup,
      warmup_target=peak if warmup else None,
      warmup_steps=warmup,
    )
  if fields.schedule in ("rsqrt", "constant"):
    return WarmUp(peak, warmup, falling=fields.schedule == "rsqrt")
  raise ValueError(
    "optimizer.schedule must be cosine, rsqrt or constant. "
    f"Received: optimizer.schedule={fields.schedule!r}"
  )


@keras.saving.register_keras_serializable("tf_pcc_launch")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
  """Linear warm-up, then constant or the Transformer's inverse square root.

  Source of the second: Vaswani et al., arXiv 1706.03762, section 5.3, scaled so
  that the peak is at the end of the warm-up.

  Args:
    peak: float, the largest rate.
    warmup_steps: int.
    falling: bool, whether the rate falls with 1 / sqrt(step) after it.
  """

  def __init__(self, peak: float, warmup_steps: int, falling: bool):
    self.peak, self.warmup_steps, self.falling = peak, warmup_steps, falling

  def __call__(self, step: tf.types.experimental.TensorLike) -> tf.Tensor:
    step = tf.cast(step, tf.float32) + 1.0
    warmup = float(max(self.warmup_steps, 1))
    rate = tf.minimum(step / warmup, 1.0)
    if self.falling:
      rate = rate * tf.sqrt(warmup / tf.maximum(step, warmup))
    return self.peak * rate

  def get_config(self) -> dict[str, Any]:
    return {
      "peak": self.peak,
      "warmup_steps": self.warmup_steps,
      "falling": self.falling,
    }

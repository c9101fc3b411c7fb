"""Which optimizers per-core clipping can wrap."""

from typing import Any

import keras


def check_library(optimizer: Any) -> None:
  """Refuses an optimizer of another library than Keras 3.

  Args:
    optimizer: what `keras.optimizers.get` takes.

  Raises:
    ValueError: If it is one of tf_keras, for example.
  """
  kinds = (str, dict, keras.optimizers.Optimizer, type(None))
  if isinstance(optimizer, type):
    raise ValueError(
      "The optimizer must be an instance, its name or its config, and not a "
      f"class: call it. Received: optimizer={optimizer.__name__}"
    )
  if not isinstance(optimizer, kinds):
    raise ValueError(
      "The optimizer must be one of Keras 3 (keras.optimizers) or its name; "
      "one of Keras 2 (tf_keras, or tf.keras with TF_USE_LEGACY_KERAS=1) does "
      f"not fit. Received: optimizer={type(optimizer).__module__}."
      f"{type(optimizer).__qualname__}"
    )


def checked(optimizer: Any) -> keras.optimizers.Optimizer:
  """Refuses what would clip, scale or accumulate a second time.

  Args:
    optimizer: what `keras.optimizers.get` returned.

  Returns:
    The optimizer.

  Raises:
    ValueError: If it is no optimizer, or one of its options contradicts
      per-core clipping.
  """
  if not isinstance(optimizer, keras.optimizers.Optimizer):
    raise ValueError(
      "inner_optimizer must be a Keras optimizer or the name of one. "
      f"Received: inner_optimizer={optimizer!r}"
    )
  if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
    raise ValueError(
      "Per-core clipping does not work with loss scaling: Keras 3 lets one "
      "replica decide for all whether a step is finite. Use the "
      "mixed_bfloat16 policy and the plain optimizer. "
      f"Received: inner_optimizer={type(optimizer).__name__}"
    )
  for field, advice in (
    ("clipnorm", "a bound, or batch_clip_norm"),
    ("global_clipnorm", "a bound, or batch_clip_norm"),
    ("clipvalue", "a bound, or batch_clip_norm"),
    ("gradient_accumulation_steps", "PerCoreModel with microbatches"),
  ):
    value = getattr(optimizer, field)
    if value:
      raise ValueError(
        f"{field} of the inner optimizer must be None: use {advice}. "
        f"Received: {field}={value}"
      )
  return optimizer

"""Output layers that start from a stated probability of the blank."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class BlankPrior(keras.initializers.Initializer):
  """Bias of a CTC output layer that starts by saying blank.

  From uniform outputs CTC's first gradients are tens of times larger than all
  later ones: nearly every frame must learn to be blank. They fill Adam's second
  moments, and the labels are learnt hundreds of steps later.

  Args:
    probability: float in (0, 1), what the blank, class 0, starts with; the
      other classes share the rest.

  Raises:
    ValueError: If the probability is not between 0 and 1.
  """

  def __init__(self, probability: float):
    if not 0 < probability < 1:
      raise ValueError(
        "blank_prior must be between 0 and 1. "
        f"Received: blank_prior={probability}"
      )
    self.probability = float(probability)

  def __call__(
    self, shape: Sequence[int], dtype: str | None = None
  ) -> tf.Tensor:
    odds = self.probability / (1.0 - self.probability)
    bias = np.zeros(shape)
    bias[0] = np.log(odds * (shape[0] - 1))
    return tf.convert_to_tensor(bias, dtype)

  def get_config(self) -> dict[str, Any]:
    return {"probability": self.probability}


def output_layer(vocab_size: int, blank_prior: float) -> keras.layers.Dense:
  """The layer of CTC logits, in float32, since the loss needs precise ones.

  Args:
    vocab_size: number of classes, the blank included.
    blank_prior: probability of the blank before training.

  Returns:
    The unbuilt layer.
  """
  return keras.layers.Dense(
    vocab_size,
    # Keras does not annotate what initializers it takes.
    bias_initializer=BlankPrior(blank_prior),  # pyright: ignore[reportArgumentType]
    dtype="float32",
  )

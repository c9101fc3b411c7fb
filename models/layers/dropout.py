"""Dropout whose mask differs per replica."""

from typing import Any

import keras
import tensorflow as tf

from models import signatures
from models.layers import seeds


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ReplicaDropout(keras.layers.Layer):
  """Dropout with another mask on every replica.

  `keras.layers.Dropout` gives all replicas of a strategy the same mask, because
  they share one generator state: the cores' gradients would then carry a common
  noise that per-core clipping cannot average out.

  Args:
    rate: float in [0, 1), share of the units set to zero in training.
    seed: int, the start of the generator.

  Raises:
    ValueError: If `rate` is not in [0, 1).
  """

  def __init__(self, rate: float, seed: int = 0, **kwargs: Any):
    super().__init__(**kwargs)
    if not 0 <= rate < 1:
      raise ValueError(
        f"ReplicaDropout's rate must be in [0, 1). Received: rate={rate}"
      )
    self.rate = float(rate)
    self.seed = int(seed)
    self.supports_masking = True
    if self.rate:
      self.generator = keras.random.SeedGenerator(self.seed)

  def build(self, input_shape: signatures.Shape) -> None:
    self.built = True

  def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    if not training or not self.rate:
      return inputs
    noise = tf.random.stateless_uniform(
      tf.shape(inputs), seeds.next_seed(self.generator)
    )
    scaled = inputs * tf.cast(1 / (1 - self.rate), inputs.dtype)
    return tf.where(noise >= self.rate, scaled, tf.zeros_like(inputs))

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), "rate": self.rate, "seed": self.seed}

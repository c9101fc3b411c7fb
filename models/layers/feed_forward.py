"""The feed-forward module of the Conformer."""

from typing import Any

import keras
import tensorflow as tf

from models import signatures
from models.layers import convolution, dropout


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class FeedForward(keras.layers.Layer):
  """Norm, expansion, swish, projection, with dropout after both.

  Args:
    dim: int, width of input and output.
    factor: int, hidden width over `dim`.
    rate: float, dropout.
    seed: int.
  """

  def __init__(
    self,
    dim: int,
    factor: int = 4,
    rate: float = 0.0,
    seed: int = 0,
    **kwargs: Any,
  ):
    super().__init__(**kwargs)
    self.dim, self.factor = int(dim), int(factor)
    self.rate, self.seed = float(rate), int(seed)
    policy = self.dtype_policy
    self.norm = keras.layers.LayerNormalization(dtype=policy)
    self.expand = keras.layers.Dense(
      self.dim * self.factor, activation=convolution.swish, dtype=policy
    )
    self.project = keras.layers.Dense(self.dim, dtype=policy)
    self.inner_dropout = dropout.ReplicaDropout(rate, seed, dtype=policy)
    self.outer_dropout = dropout.ReplicaDropout(rate, seed + 1, dtype=policy)

  def build(self, x_shape: signatures.Shape) -> None:
    self.norm.build((None, None, self.dim))
    self.expand.build((None, None, self.dim))
    self.project.build((None, None, self.dim * self.factor))
    self.built = True

  def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
    x = self.inner_dropout(self.expand(self.norm(x)), training=training)
    return self.outer_dropout(self.project(x), training=training)

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "dim": self.dim,
      "factor": self.factor,
      "rate": self.rate,
      "seed": self.seed,
    }

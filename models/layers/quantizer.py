"""Codes of speech: a random projection and a random codebook.

Source: Chiu et al., "Self-supervised Learning with Random-projection Quantizer
for Speech Recognition", arXiv 2202.01855.
"""

from typing import Any

import keras
import tensorflow as tf

from models import signatures


def stack_frames(features: tf.Tensor, factor: int) -> tf.Tensor:
  """Joins every `factor` frames to one, the last filled up with zeros.

  Args:
    features: float [B, T, F].
    factor: int.

  Returns:
    float [B, ceil(T / factor), factor * F].
  """
  batch, time = tf.unstack(tf.shape(features)[:2])
  features = tf.pad(features, [[0, 0], [0, -time % factor], [0, 0]])
  width = factor * signatures.known(features.shape[2])
  return tf.reshape(features, [batch, -1, width])


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class RandomProjectionQuantizer(keras.layers.Layer):
  """The nearest of random code vectors to a random projection.

  code(x) = argmin_i || c_i / ||c_i|| - A x / ||A x|| ||, A Glorot uniform, c_i
  normal; neither is ever trained. Both are weights, saved with the model.

  Args:
    codebook_size: int, number of code vectors.
    codebook_dim: int, their width.
    seed: int, of A and the code vectors.

  References:
    arXiv 2202.01855, section 3.1, equation 1.
  """

  def __init__(
    self, codebook_size: int, codebook_dim: int, seed: int = 0, **kwargs: Any
  ):
    kwargs["dtype"] = "float32"
    super().__init__(**kwargs)
    self.codebook_size, self.codebook_dim = (
      int(codebook_size),
      int(codebook_dim),
    )
    self.seed = int(seed)
    self.trainable = False

  def build(self, x_shape: signatures.Shape) -> None:
    self.projection = self.add_weight(
      name="projection",
      shape=[x_shape[-1], self.codebook_dim],
      initializer=keras.initializers.GlorotUniform(self.seed),
      trainable=False,
    )
    self.codebook = self.add_weight(
      name="codebook",
      shape=[self.codebook_size, self.codebook_dim],
      initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
      trainable=False,
    )
    self.codebook.assign(tf.math.l2_normalize(self.codebook, axis=1))
    self.built = True

  def call(self, x: tf.Tensor) -> tf.Tensor:
    """Quantizes.

    Args:
      x: float32 [..., width].

    Returns:
      int32 [...], codes in 0..codebook_size - 1.
    """
    # Between unit vectors the nearest is the one of the largest product, which
    # the length of A x does not change.
    products = tf.matmul(
      tf.matmul(x, self.projection), self.codebook, False, True
    )
    return tf.argmax(products, axis=-1, output_type=tf.int32)

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "codebook_size": self.codebook_size,
      "codebook_dim": self.codebook_dim,
      "seed": self.seed,
    }


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class CodesInUse(keras.metrics.Metric):
  """The share of a codebook that was seen at least once.

  Args:
    codebook_size: number of codes.
    name: of the metric.
  """

  def __init__(
    self, codebook_size: int, name: str = "codes_in_use", **kwargs: Any
  ):
    super().__init__(name=name, **kwargs)
    self.codebook_size = int(codebook_size)
    self.counts = self.add_weight(
      name="counts", shape=[self.codebook_size], initializer="zeros"
    )

  def update_state(self, codes: tf.Tensor, mask: tf.Tensor) -> None:
    """Counts codes, int32 [B, T], where mask, bool [B, T], is true.

    Args:
      codes: int32 [B, T], in 0..codebook_size - 1.
      mask: bool [B, T], which of them count.
    """
    weights = tf.cast(tf.reshape(mask, [-1]), tf.float32)
    self.counts.assign_add(
      tf.math.unsorted_segment_sum(
        weights, tf.reshape(codes, [-1]), self.codebook_size
      )
    )

  def result(self) -> tf.Tensor:
    """The share, a float32 scalar."""
    return tf.reduce_mean(tf.cast(self.counts > 0, tf.float32))

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), "codebook_size": self.codebook_size}

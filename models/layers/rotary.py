"""Self-attention whose queries and keys are rotated by their places."""

from typing import Any

import keras
import tensorflow as tf

from models import signatures
from models.layers import attention, self_attention


def rotate(x: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
  """Rotates pairs of numbers, one of each half, by a frame's angles.

  The product of two rotated vectors depends on the difference of their angles
  alone, which for frames i and j is the distance i - j times each rate.

  Args:
    x: float [..., T, width].
    positions: float [T, width], sines in the first half, cosines in the second.

  Returns:
    float [..., T, width].

  Example:
    >>> x = tf.constant([[1.0, 0.0]] * 3)
    >>> places = attention.relative_positions(3, 2)[:3]  # 2, 1, 0 to the last
    >>> y = rotate(x, places)
    >>> products = tf.matmul(y, y, transpose_b=True)
    >>> abs(float(products[0, 1] - products[1, 2])) < 1e-6
    True
  """
  first, second = tf.split(x, 2, axis=-1)
  sine, cosine = tf.split(positions, 2, axis=-1)
  return tf.concat(
    [first * cosine - second * sine, second * cosine + first * sine], axis=-1
  )


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class RotarySelfAttention(self_attention.SelfAttention):
  """Multi-head self-attention over rotated queries and keys.

  score(i, j) = (R_i q_i) . (R_j k_j) / sqrt(head width), the softmax in float32
  over the frames that the mask lets a frame see. Positions have no weights.

  Args:
    dim: int, width of input and output.
    heads: int, divides `dim` into even widths.

  Raises:
    ValueError: If `heads` does not divide `dim` so.

  References:
    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding",
    arXiv 2104.09864, section 3.2.
  """

  def __init__(self, dim: int, heads: int, **kwargs: Any):
    super().__init__(dim, heads, **kwargs)
    if self.width % 2:
      raise ValueError(
        "dim / heads must be even for rotary positions. "
        f"Received: dim={dim}, heads={heads}"
      )

  def positions(
    self, frames: signatures.Size, asking: signatures.Size
  ) -> tf.Tensor:
    """Sinusoids of the distances from all frames to the last.

    Args:
      frames: int, K, all frames.
      asking: int, ignored.

    Returns:
      float32 [K, width].
    """
    del asking
    return attention.relative_positions(frames, self.width)[:frames]

  def scores(
    self, query: tf.Tensor, key: tf.Tensor, positions: tf.Tensor
  ) -> tf.Tensor:
    """Products of rotated queries and keys, before they are scaled.

    Args:
      query: float [heads, B, T, width].
      key: float [heads, B, K, width].
      positions: what `positions` gave for K.

    Returns:
      float [heads, B, T, K].
    """
    positions = tf.cast(positions, key.dtype)
    first = tf.shape(key)[2] - tf.shape(query)[2]
    query, key = rotate(query, positions[first:]), rotate(key, positions)
    return tf.matmul(query, key, transpose_b=True)

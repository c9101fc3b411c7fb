"""Self-attention with relative positions (Transformer-XL)."""

import keras
import tensorflow as tf

# Large enough to switch a key off, small enough for bfloat16 and float32.
_MASKED = -1e9


def relative_positions(length, dim: int) -> tf.Tensor:
  """Sinusoids of the distances length - 1 down to -(length - 1).

  Args:
    length: int or int32 scalar, frames T.
    dim: int, even.

  Returns:
    float32 [2T - 1, dim]: sines in the first half, cosines in the second.

  References:
    Dai et al., arXiv 1901.02860, appendix B.
  """
  distance = tf.cast(tf.range(length - 1, -length, -1), tf.float32)
  rate = tf.pow(10000.0, -tf.range(0, dim, 2, dtype=tf.float32) / dim)
  angle = distance[:, None] * rate[None, :]
  return tf.concat([tf.sin(angle), tf.cos(angle)], axis=1)


def relative_shift(scores: tf.Tensor) -> tf.Tensor:
  """Turns scores by distance into scores by key.

  Args:
    scores: [B, H, T, 2T - 1], entry [.., i, j] for distance T - 1 - j.

  Returns:
    [B, H, T, T], entry [.., i, j] for distance i - j.
  """
  batch, heads, time, distances = tf.unstack(tf.shape(scores))
  scores = tf.pad(scores, [[0, 0], [0, 0], [0, 0], [1, 0]])
  scores = tf.reshape(scores, [batch, heads, distances + 1, time])
  scores = tf.reshape(scores[:, :, 1:], [batch, heads, time, distances])
  return scores[..., :time]


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class RelativeSelfAttention(keras.layers.Layer):
  """Multi-head self-attention over content and relative position.

  score(i, j) = ((q_i + u) . k_j + (q_i + v) . r_{i-j}) / sqrt(head width), the
  softmax in float32 over the utterance's own frames.

  Args:
    dim: int, width of input and output.
    heads: int, divides `dim`.

  Raises:
    ValueError: If `heads` does not divide `dim`.

  References:
    Dai et al., arXiv 1901.02860, section 3.3; Gulati et al., arXiv 2005.08100,
    section 2.1.
  """

  def __init__(self, dim: int, heads: int, **kwargs):
    super().__init__(**kwargs)
    if dim % heads:
      raise ValueError(
        f"heads must divide dim. Received: heads={heads}, dim={dim}"
      )
    self.dim, self.heads = int(dim), int(heads)
    self.width = self.dim // self.heads
    dense = keras.layers.Dense
    self.query_key_value = dense(3 * self.dim, dtype=self.dtype_policy)
    self.position = dense(self.dim, use_bias=False, dtype=self.dtype_policy)
    self.output_projection = dense(self.dim, dtype=self.dtype_policy)

  def build(self, x_shape, positions_shape=None, mask_shape=None):
    shape = (None, None, self.dim)
    self.query_key_value.build(shape)
    self.position.build(shape[1:])
    self.output_projection.build(shape)
    for name in ("content_bias", "position_bias"):
      bias = self.add_weight(
        name=name, shape=[self.heads, self.width], initializer="zeros"
      )
      setattr(self, name, bias)
    self.built = True

  def call(self, x, positions, mask):
    """Attends.

    Args:
      x: float [B, T, dim].
      positions: float [2T - 1, dim], `relative_positions(T, dim)`.
      mask: bool [B, T], the valid frames.

    Returns:
      float [B, T, dim].
    """
    batch, time = tf.unstack(tf.shape(x)[:2])
    heads = tf.reshape(
      self.query_key_value(x), [batch, time, 3, self.heads, self.width]
    )
    query, key, value = tf.unstack(tf.transpose(heads, [2, 0, 3, 1, 4]))
    position = tf.reshape(
      self.position(positions), [-1, self.heads, self.width]
    )
    content_bias = tf.cast(self.content_bias, query.dtype)[:, None]
    position_bias = tf.cast(self.position_bias, query.dtype)[:, None]
    scores = tf.matmul(query + content_bias, key, transpose_b=True)
    scores += relative_shift(
      tf.matmul(query + position_bias, tf.transpose(position, [1, 2, 0]))
    )
    scores *= self.width**-0.5
    scores = tf.where(
      mask[:, None, None, :], tf.cast(scores, tf.float32), _MASKED
    )
    weights = tf.cast(tf.nn.softmax(scores), value.dtype)
    mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
    return self.output_projection(tf.reshape(mixed, [batch, time, self.dim]))

  def get_config(self):
    return {**super().get_config(), "dim": self.dim, "heads": self.heads}

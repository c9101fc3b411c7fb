"""Self-attention with relative positions (Transformer-XL)."""

from typing import Any

import keras
import tensorflow as tf

from models import signatures
from tf_pcc import replicas

# Large enough to switch a key off, small enough for bfloat16 and float32.
_MASKED = -1e9
# Turned queries are so wide for every head: wider ones are no smaller than the
# scores by distance of a few hundred frames that they replace.
_WIDEST_TURNED = 256


def relative_positions(length: signatures.Size, dim: int) -> tf.Tensor:
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
    scores: [heads, B, T, K + T] of T queries, the last of K frames; entry
      [.., i, 1 + j] for distance K - 1 - j. The first column is not looked at.

  Returns:
    [heads, B, T, K], entry [.., i, j] for distance K - T + i - j.
  """
  heads, batch, time, width = tf.unstack(tf.shape(scores))
  # Row i must move T - i columns to the left: in memory, where rows follow one
  # another, that is T elements less and rows that are one element shorter. By
  # tf.slice, as the gradient of a strided slice is slower than the products.
  scores = tf.reshape(scores, [heads, batch, time * width])
  size = [heads, batch, time * (width - 1)]
  scores = tf.slice(scores, tf.stack([0, 0, time]), size)
  scores = tf.reshape(scores, [heads, batch, time, width - 1])
  return tf.slice(scores, [0, 0, 0, 0], [heads, batch, time, width - time])


def turn(query: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
  """Turns queries by their own places, so that a key's place is enough.

  sin(w(i - j)) and cos(w(i - j)) are sums of products of a factor of i and a
  factor of j. So what a query gives for a distance is a product of the turned
  query and the key's own sinusoids, and no scores by distance are made.

  Args:
    query: float [..., T, dim], the weights of sines and of cosines.
    positions: float [T, dim], rows of `relative_positions`, the distances from
      the T frames to any fixed one.

  Returns:
    float [..., T, dim]. Its product with the sinusoids of the distance from
    frame j to the fixed one is the product of `query` with those of i - j.

  Example:
    >>> positions = relative_positions(3, 4)  # of distances 2 to -2
    >>> query = tf.constant([[1.0, 2.0, 3.0, 4.0]] * 3)
    >>> by_key = tf.matmul(
    ...   turn(query, positions[:3]), positions[:3], transpose_b=True
    ... )
    >>> by_distance = tf.matmul(query, positions, transpose_b=True)
    >>> abs(float(by_key[2, 1] - by_distance[2, 1])) < 1e-5  # 2 - 1 = 1
    True
  """
  sines, cosines = tf.split(query, 2, axis=-1)
  sine, cosine = tf.split(positions, 2, axis=-1)
  return tf.concat(
    [sines * cosine + cosines * sine, cosines * cosine - sines * sine], axis=-1
  )


def chunk_mask(
  time: signatures.Size, chunk_frames: int, left_chunks: int
) -> tf.Tensor:
  """Which frames a frame sees: its own chunk and some before.

  Args:
    time: int or int32 scalar, frames T.
    chunk_frames: int, frames of a chunk.
    left_chunks: int, chunks before a frame's own.

  Returns:
    bool [T, T], entry [i, j] whether frame i sees frame j.

  References:
    Zhang et al., arXiv 2012.05481, section 2.2 (chunk-based masks).
  """
  chunk = tf.range(time) // chunk_frames
  behind = chunk[:, None] - chunk[None, :]
  return (behind >= 0) & (behind <= left_chunks)


def _exchange(tensor):
  """Heads and batch, the first two axes, one for the other."""
  return tf.transpose(tensor, [1, 0, 2, 3])


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class RelativeSelfAttention(keras.layers.Layer):
  """Multi-head self-attention over content and relative position.

  score(i, j) = ((q_i + u) . k_j + (q_i + v) . r_{i-j}) / sqrt(head width), the
  softmax in float32 over the frames that the mask lets a frame see.

  Args:
    dim: int, width of input and output.
    heads: int, divides `dim`.
    shift_free: bool, how scores by position are made. False: scores by
      distance, shifted to scores by key; fewer operations, quicker on CPUs.
      True: one product of turned queries and places (see `turn`), which moves
      fewer bytes. None: True in a TPU's program up to dim 256, else False.
      Weights and, up to rounding, outputs are the same.

  Raises:
    ValueError: If `heads` does not divide `dim`.

  References:
    Dai et al., arXiv 1901.02860, section 3.3; Gulati et al., arXiv 2005.08100,
    section 2.1.
  """

  def __init__(
    self,
    dim: int,
    heads: int,
    shift_free: bool | None = None,
    **kwargs: Any,
  ):
    super().__init__(**kwargs)
    self.shift_free = shift_free
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

  def build(
    self,
    x_shape: signatures.Shape,
    positions_shape: signatures.Shape | None = None,
    mask_shape: signatures.Shape | None = None,
  ) -> None:
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

  def call(
    self, x: tf.Tensor, positions: tf.Tensor, mask: tf.Tensor
  ) -> tf.Tensor:
    """Attends.

    Args:
      x: float [B, T, dim].
      positions: float [2T - 1, dim], `relative_positions(T, dim)`.
      mask: bool [B, T], the valid frames, or [B, T, T], those frame i sees.

    Returns:
      float [B, T, dim].
    """
    query, key, value = self._project(x)
    mask = mask[:, None] if len(mask.shape) == 2 else mask
    return self._attend(query, key, value, positions, mask)

  def step(
    self,
    x: tf.Tensor,
    positions: tf.Tensor,
    mask: tf.Tensor,
    past: tuple[tf.Tensor, tf.Tensor],
  ) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
    """Attends from the next T frames of a stream to them and P before them.

    Args:
      x: float [B, T, dim].
      positions: float [P + 2T - 1, dim], the first of
        `relative_positions(P + T, dim)`.
      mask: bool [B, P + T], the frames seen.
      past: pair of float [B, heads, P, width], keys and values before.

    Returns:
      float [B, T, dim], and the next `past`.
    """
    query, *now = self._project(x)
    key, value = (
      tf.concat([_exchange(tf.cast(before, new.dtype)), new], axis=2)
      for before, new in zip(past, now)
    )
    y = self._attend(query, key, value, positions, mask[:, None])
    time = tf.shape(x)[1]
    return y, (_exchange(key[:, :, time:]), _exchange(value[:, :, time:]))

  def _project(self, x):
    """Queries, keys and values [heads, B, T, width]."""
    batch, time = tf.unstack(tf.shape(x)[:2])
    heads = tf.reshape(
      self.query_key_value(x), [batch, time, 3, self.heads, self.width]
    )
    return tf.unstack(tf.transpose(heads, [2, 3, 0, 1, 4]))

  def _attend(self, query, key, value, positions, mask):
    """Mixes values [heads, B, K, width]; the mask is [B, 1 or T, K]."""
    content_bias = tf.cast(self.content_bias, query.dtype)[:, None, None]
    position_bias = tf.cast(self.position_bias, query.dtype)[:, None, None]
    by_content, by_position = query + content_bias, query + position_bias
    free = self.shift_free
    if free is None:
      free = replicas.on_tpu() and self.dim <= _WIDEST_TURNED
    if free:
      scores = self._of_places(by_content, by_position, key, positions)
    else:
      scores = tf.matmul(by_content, key, transpose_b=True)
      scores += self._by_position(by_position, positions)
    scores *= self.width**-0.5
    scores = tf.where(mask, tf.cast(scores, tf.float32), _MASKED)
    weights = tf.cast(tf.nn.softmax(scores), value.dtype)
    mixed = tf.transpose(tf.matmul(weights, value), [1, 2, 0, 3])
    batch, time = tf.unstack(tf.shape(mixed)[:2])
    return self.output_projection(tf.reshape(mixed, [batch, time, self.dim]))

  def _of_places(self, by_content, by_position, key, positions):
    """Scores [heads, B, T, K], by content and position in one product.

    The first K rows of the positions are the distances from the keys to the
    last one, and the last T of these are the queries' own.
    """
    heads, batch, time, _ = tf.unstack(tf.shape(by_position))
    frames = tf.shape(key)[2]
    weights = tf.cast(self.position.kernel, key.dtype)
    weights = tf.reshape(weights, [self.dim, self.heads, self.width])
    places = tf.cast(positions[:frames], key.dtype)
    query = tf.matmul(
      tf.reshape(by_position, [heads, batch * time, self.width]),
      tf.transpose(weights, [1, 0, 2]),
      transpose_b=True,
    )
    query = tf.reshape(query, [heads, batch, time, self.dim])
    query = turn(query, places[frames - time :])
    places = tf.broadcast_to(places, [heads, batch, frames, self.dim])
    return tf.matmul(
      tf.concat([by_content, query], axis=-1),
      tf.concat([key, places], axis=-1),
      transpose_b=True,
    )

  def _by_position(self, query, positions):
    """Scores [heads, B, T, K] of queries [heads, B, T, width].

    A head's positions are the same for the whole batch. With the heads first,
    its queries are one matrix, so nothing is copied for every row, and no
    product broadcasts: oneDNN's (TensorFlow 2.17.1) gives garbage there.
    """
    _, batch, time, _ = tf.unstack(tf.shape(query))
    position = tf.reshape(
      self.position(positions), [-1, self.heads, self.width]
    )
    position = tf.transpose(position, [1, 0, 2])
    # The column that the shift drops, made where it is cheap.
    position = tf.pad(position, [[0, 0], [1, 0], [0, 0]])
    query = tf.reshape(query, [self.heads, batch * time, self.width])
    scores = tf.matmul(query, position, transpose_b=True)
    return relative_shift(
      tf.reshape(scores, [self.heads, batch, time, tf.shape(position)[1]])
    )

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "dim": self.dim,
      "heads": self.heads,
      "shift_free": self.shift_free,
    }

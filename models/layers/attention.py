"""Self-attention with relative positions (Transformer-XL)."""

from typing import Any

import keras
import tensorflow as tf

from models import signatures
from models.layers import self_attention
from tf_pcc import replicas

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


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class RelativeSelfAttention(self_attention.SelfAttention):
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
    super().__init__(dim, heads, **kwargs)
    self.shift_free = shift_free

  def _make_position_layers(self) -> None:
    self.position = keras.layers.Dense(
      self.dim, use_bias=False, dtype=self.dtype_policy
    )

  def _build_positions(self) -> None:
    self.position.build((None, self.dim))
    for name in ("content_bias", "position_bias"):
      bias = self.add_weight(
        name=name, shape=[self.heads, self.width], initializer="zeros"
      )
      setattr(self, name, bias)

  def positions(
    self, frames: signatures.Size, asking: signatures.Size
  ) -> tf.Tensor:
    """Sinusoids of the distances from the last frames to all.

    Args:
      frames: int, K, all frames.
      asking: int, T, the last of them.

    Returns:
      float32 [K + T - 1, dim].
    """
    return relative_positions(frames, self.dim)[: frames + asking - 1]

  def scores(
    self, query: tf.Tensor, key: tf.Tensor, positions: tf.Tensor
  ) -> tf.Tensor:
    """By content and by distance, before they are scaled.

    Args:
      query: float [heads, B, T, width].
      key: float [heads, B, K, width].
      positions: what `positions` gave for K and T.

    Returns:
      float [heads, B, T, K].
    """
    content_bias = tf.cast(self.content_bias, query.dtype)[:, None, None]
    position_bias = tf.cast(self.position_bias, query.dtype)[:, None, None]
    by_content, by_position = query + content_bias, query + position_bias
    free = self.shift_free
    if free is None:
      free = replicas.on_tpu() and self.dim <= _WIDEST_TURNED
    if free:
      return self._of_places(by_content, by_position, key, positions)
    scores = tf.matmul(by_content, key, transpose_b=True)
    return scores + self._by_position(by_position, positions)

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
    return {**super().get_config(), "shift_free": self.shift_free}

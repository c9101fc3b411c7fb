"""Multi-head self-attention, of whole utterances and of streams.

How a score depends on positions is left to `attention` and `rotary`.
"""

from typing import Any

import keras
import tensorflow as tf

from models import signatures

# Large enough to switch a key off, small enough for bfloat16 and float32.
_MASKED = -1e9


def _exchange(tensor):
  """Heads and batch, the first two axes, one for the other."""
  return tf.transpose(tensor, [1, 0, 2, 3])


class SelfAttention(keras.layers.Layer):
  """Queries, keys and values, and their mixture; a subclass gives the scores.

  It writes `positions` and `scores`, and, where it has weights of its own,
  `_make_position_layers` and `_build_positions`.

  Args:
    dim: int, width of input and output.
    heads: int, divides `dim`.

  Raises:
    ValueError: If `heads` does not divide `dim`.
  """

  def __init__(self, dim: int, heads: int, **kwargs: Any):
    super().__init__(**kwargs)
    if dim % heads:
      raise ValueError(
        f"heads must divide dim. Received: heads={heads}, dim={dim}"
      )
    self.dim, self.heads = int(dim), int(heads)
    self.width = self.dim // self.heads
    dense = keras.layers.Dense
    self.query_key_value = dense(3 * self.dim, dtype=self.dtype_policy)
    # Here, as the order in which layers are made is that of the weights.
    self._make_position_layers()
    self.output_projection = dense(self.dim, dtype=self.dtype_policy)

  def _make_position_layers(self) -> None:
    """Makes the layers that positions go through: none."""

  def _build_positions(self) -> None:
    """Builds what `_make_position_layers` made, and weights beside it."""

  def positions(
    self, frames: signatures.Size, asking: signatures.Size
  ) -> tf.Tensor:
    """What `scores` has to know of the frames' places.

    Args:
      frames: int, K, all frames.
      asking: int, T, the last of them, which have queries.

    Returns:
      float32 [rows, columns].
    """
    raise NotImplementedError("a SelfAttention must write positions")

  def scores(
    self, query: tf.Tensor, key: tf.Tensor, positions: tf.Tensor
  ) -> tf.Tensor:
    """How much each query asks for each key, before it is scaled.

    Args:
      query: float [heads, B, T, width].
      key: float [heads, B, K, width].
      positions: what `positions` gave for K and T, in the layer's dtype.

    Returns:
      float [heads, B, T, K].
    """
    raise NotImplementedError("a SelfAttention must write scores")

  def build(
    self,
    x_shape: signatures.Shape,
    positions_shape: signatures.Shape | None = None,
    mask_shape: signatures.Shape | None = None,
  ) -> None:
    shape = (None, None, self.dim)
    self.query_key_value.build(shape)
    self._build_positions()
    self.output_projection.build(shape)
    self.built = True

  def call(
    self, x: tf.Tensor, positions: tf.Tensor, mask: tf.Tensor
  ) -> tf.Tensor:
    """Attends.

    Args:
      x: float [B, T, dim].
      positions: `positions(T, T)`.
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
      positions: `positions(P + T, T)`.
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
    scores = self.scores(query, key, positions)
    scores *= self.width**-0.5
    scores = tf.where(mask, tf.cast(scores, tf.float32), _MASKED)
    weights = tf.cast(tf.nn.softmax(scores), value.dtype)
    mixed = tf.transpose(tf.matmul(weights, value), [1, 2, 0, 3])
    batch, time = tf.unstack(tf.shape(mixed)[:2])
    return self.output_projection(tf.reshape(mixed, [batch, time, self.dim]))

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), "dim": self.dim, "heads": self.heads}

"""SpecAugment: masks over bands and over time, drawn again in every step."""

from typing import Any

import keras
import tensorflow as tf

from models import signatures
from models.layers import seeds


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class SpecAugment(keras.layers.Layer):
  """Zeroes random blocks of bands and of frames, in training only.

  Every utterance gets its own masks, other ones on every replica and in every
  step. A mask's width is uniform in 0..its maximum, its start uniform where the
  mask fits; time masks stay within the utterance. Zero is the mean of
  normalised features. All shapes are static.

  Args:
    frequency_masks: int, blocks of bands an utterance.
    frequency_width: int, maximum width in bands (F in the paper).
    time_masks: int, blocks of frames an utterance.
    time_width: int, maximum width in frames (T in the paper); None sets no
      limit but `time_ratio`.
    time_ratio: float, maximum width as a share of the utterance's frames (p_S
      of adaptive masking; 0.05 in Conformer's setup).
    seed: int.

  Raises:
    ValueError: If a count or width is negative, or `time_ratio` not in [0, 1].

  References:
    Park et al., arXiv 1904.08779; adaptive time masks: Park et al., arXiv
    1912.05533; Conformer's setting: Gulati et al., arXiv 2005.08100, 3.2.
  """

  def __init__(
    self,
    frequency_masks: int = 2,
    frequency_width: int = 27,
    time_masks: int = 10,
    time_width: int | None = None,
    time_ratio: float = 0.05,
    seed: int = 0,
    **kwargs: Any,
  ):
    kwargs["dtype"] = "float32"
    super().__init__(**kwargs)
    for name, value in (
      ("frequency_masks", frequency_masks),
      ("frequency_width", frequency_width),
      ("time_masks", time_masks),
      ("time_width", time_width),
    ):
      if value is not None and value < 0:
        raise ValueError(
          f"SpecAugment's {name} must be at least 0. Received: {name}={value}"
        )
    if not 0 <= time_ratio <= 1:
      raise ValueError(
        "SpecAugment's time_ratio must be in [0, 1]. "
        f"Received: time_ratio={time_ratio}"
      )
    self.frequency_masks = int(frequency_masks)
    self.frequency_width = int(frequency_width)
    self.time_masks = int(time_masks)
    self.time_width = None if time_width is None else int(time_width)
    self.time_ratio = float(time_ratio)
    self.seed = int(seed)
    if self.frequency_masks or self.time_masks:
      self.generator = keras.random.SeedGenerator(self.seed)

  def build(
    self,
    features_shape: signatures.Shape,
    lengths_shape: signatures.Shape | None = None,
  ) -> None:
    self.built = True

  def call(
    self, features: tf.Tensor, lengths: tf.Tensor, training: bool = False
  ) -> tf.Tensor:
    """Masks the features.

    Args:
      features: float32 [B, T, F], normalised.
      lengths: int32 [B], valid frames.
      training: bool; False returns the features as they are.

    Returns:
      float32 [B, T, F].
    """
    if not training:
      return features
    batch, time, bands = tf.unstack(tf.shape(features))
    if self.frequency_masks:
      extent = tf.fill([batch], bands)
      limit = tf.minimum(extent, self.frequency_width)
      masked = self._blocks(self.frequency_masks, extent, limit, bands)
      features = tf.where(masked[:, None, :], 0.0, features)
    if self.time_masks:
      limit = tf.cast(tf.cast(lengths, tf.float32) * self.time_ratio, tf.int32)
      if self.time_width is not None:
        limit = tf.minimum(limit, self.time_width)
      masked = self._blocks(self.time_masks, lengths, limit, time)
      features = tf.where(masked[:, :, None], 0.0, features)
    return features

  def _blocks(self, count, extent, limit, size):
    """bool [B, size]: the union of `count` blocks within 0..extent-1."""
    uniform = tf.random.stateless_uniform(
      tf.stack([2, tf.shape(extent)[0], count]),
      seeds.next_seed(self.generator),
    )
    limit = tf.cast(limit, tf.float32)[:, None]
    extent = tf.cast(extent, tf.float32)[:, None]
    width = tf.floor(uniform[0] * (limit + 1))
    start = tf.floor(uniform[1] * (extent - width + 1))
    position = tf.range(tf.cast(size, tf.float32))
    start, width = start[:, :, None], width[:, :, None]
    inside = (position >= start) & (position < start + width)
    return tf.reduce_any(inside, axis=1)

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "frequency_masks": self.frequency_masks,
      "frequency_width": self.frequency_width,
      "time_masks": self.time_masks,
      "time_width": self.time_width,
      "time_ratio": self.time_ratio,
      "seed": self.seed,
    }

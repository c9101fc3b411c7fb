"""Convolution subsampling: the first layers, which shorten the sequence."""

import keras
import tensorflow as tf

STRIDES = {2: (2,), 4: (2, 2), 6: (2, 3), 8: (2, 2, 2)}
KINDS = ("conv2d", "conv1d")


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConvolutionSubsampling(keras.layers.Layer):
  """Shortens log-mel features by strided convolutions.

  Each convolution has stride s and kernel 2s - 1, centred, so that T frames
  become ceil(T / s) whatever T is, and frames behind an utterance's end are
  zeroed before each of them: padding never reaches a valid frame. (Keras's
  padding="same" would shift the grid with the parity of the padded length.)

  Args:
    dim: int, width of the output and number of filters.
    factor: int, 2, 4, 6 or 8.
    kind: "conv2d" (over time and bands, as in the paper) or "conv1d" (over time
      only, bands as channels: about 30 times less work).

  Raises:
    ValueError: If `factor` or `kind` is unknown.

  References:
    Gulati et al., arXiv 2005.08100, figure 1.
  """

  def __init__(self, dim: int, factor: int = 4, kind: str = "conv2d", **kwargs):
    super().__init__(**kwargs)
    if factor not in STRIDES:
      raise ValueError(
        f"subsampling_factor must be one of {sorted(STRIDES)}. "
        f"Received: subsampling_factor={factor}"
      )
    if kind not in KINDS:
      raise ValueError(
        f"subsampling must be one of {KINDS}. Received: subsampling={kind!r}"
      )
    self.dim, self.factor, self.kind = int(dim), int(factor), kind
    self.strides = STRIDES[self.factor]
    self.convolutions = [self._convolution(s) for s in self.strides]
    if kind == "conv2d":
      self.project = keras.layers.Dense(self.dim, dtype=self.dtype_policy)

  def _convolution(self, stride):
    convolution = (
      keras.layers.Conv2D if self.kind == "conv2d" else keras.layers.Conv1D
    )
    return convolution(
      self.dim,
      2 * stride - 1,
      stride,
      padding="valid",
      activation="relu",
      dtype=self.dtype_policy,
    )

  def build(self, features_shape, lengths_shape=None):
    bands = features_shape[-1]
    for stride, convolution in zip(self.strides, self.convolutions):
      if self.kind == "conv2d":
        channels = 1 if convolution is self.convolutions[0] else self.dim
        convolution.build((None, None, bands, channels))
        bands = -(-bands // stride)
      else:
        convolution.build((None, None, bands))
        bands = self.dim
    if self.kind == "conv2d":
      self.project.build((None, None, bands * self.dim))
    self.built = True

  def call(self, features, lengths):
    """Subsamples.

    Args:
      features: float [B, T, F].
      lengths: int32 [B], valid frames.

    Returns:
      float [B, ceil(T / factor), dim] and int32 [B], the valid frames.
    """
    if self.kind == "conv2d":
      features = features[..., None]
    for stride, convolution in zip(self.strides, self.convolutions):
      margin = [stride - 1, stride - 1]
      spatial = len(features.shape) - 2
      mask = tf.sequence_mask(lengths, tf.shape(features)[1])
      mask = tf.cast(mask, features.dtype)
      features *= mask[(..., *[None] * spatial)]
      features = tf.pad(features, [[0, 0], *[margin] * spatial, [0, 0]])
      features = convolution(features)
      lengths = -(-lengths // stride)
    if self.kind == "conv2d":
      batch, time = tf.unstack(tf.shape(features)[:2])
      width = features.shape[2] * features.shape[3]
      features = self.project(tf.reshape(features, [batch, time, width]))
    return features, lengths

  def frames(self, frames):
    """Output frames for `frames` input frames (an int or an integer array)."""
    for stride in self.strides:
      frames = -(-frames // stride)
    return frames

  def get_config(self):
    return {
      **super().get_config(),
      "dim": self.dim,
      "factor": self.factor,
      "kind": self.kind,
    }

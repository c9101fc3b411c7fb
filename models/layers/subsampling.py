"""Convolution subsampling: the first layers, which shorten the sequence."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from models import signatures

STRIDES = {2: (2,), 4: (2, 2), 6: (2, 3), 8: (2, 2, 2)}
KINDS = ("conv2d", "conv1d")


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConvolutionSubsampling(keras.layers.Layer):
  """Shortens log-mel features by strided convolutions.

  Each convolution has stride s and kernel 2s - 1, centred, so that T frames
  become ceil(T / s) whatever T is, and frames behind an utterance's end are
  zeroed before each of them: padding never reaches a valid frame. (Keras's
  padding="same" would shift the grid with the parity of the padded length.)
  Output j needs no frame after factor * (j + 1) - 1, so a stream cut in parts
  of a multiple of `factor` frames waits for nothing (see `step`).

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

  def __init__(
    self, dim: int, factor: int = 4, kind: str = "conv2d", **kwargs: Any
  ):
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

  def build(
    self,
    features_shape: signatures.Shape,
    lengths_shape: signatures.Shape | None = None,
  ) -> None:
    bands = signatures.known(features_shape[-1])
    # What each convolution sees of a frame, channels apart.
    self.bands = []
    for stride, convolution in zip(self.strides, self.convolutions):
      self.bands.append(bands)
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

  def call(
    self, features: tf.Tensor, lengths: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Subsamples.

    Args:
      features: float [B, T, F].
      lengths: int32 [B], valid frames.

    Returns:
      float [B, ceil(T / factor), dim] and int32 [B], the valid frames.
    """
    past = self.initial_state(tf.shape(features)[0], features.dtype)
    features, lengths, _ = self.step(features, lengths, past, end=True)
    return features, lengths

  def initial_state(
    self, batch: signatures.Size, dtype: str | tf.DType = "float32"
  ) -> list[tf.Tensor]:
    """The frames before a stream's first: zeros, one tensor a convolution.

    Args:
      batch: number of streams, or of hypotheses, B.
      dtype: of the tensors.

    Returns:
      List of a tensor [B, ...] for each convolution.
    """
    shapes = [
      [stride - 1, self.bands[index], 1 if index == 0 else self.dim]
      if self.kind == "conv2d"
      else [stride - 1, self.bands[index]]
      for index, stride in enumerate(self.strides)
    ]
    return [tf.zeros([batch, *shape], dtype) for shape in shapes]

  def step(
    self,
    features: tf.Tensor,
    lengths: tf.Tensor,
    past: Sequence[tf.Tensor],
    end: bool = False,
  ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Subsamples the next part of a stream.

    Args:
      features: float [B, n * factor, F]; any number of frames at the end.
      lengths: int32 [B], valid frames; less than all only at the end.
      past: what `initial_state` or the last step returned.
      end: bool, whether nothing comes after.

    Returns:
      float [B, n, dim], int32 [B], the valid frames, and the next `past`.
    """
    if self.kind == "conv2d":
      features = features[:, :, :, None]
    following = []
    for stride, convolution, before in zip(
      self.strides, self.convolutions, past
    ):
      spatial = len(features.shape) - 2
      mask = tf.sequence_mask(lengths, tf.shape(features)[1])
      mask = tf.cast(mask, features.dtype)
      features *= mask[(..., *[None] * spatial)]
      features = tf.concat([tf.cast(before, features.dtype), features], axis=1)
      following.append(features[:, tf.shape(features)[1] - stride + 1 :])
      margins = [[0, 0] for _ in features.shape]
      margins[1][1] = stride - 1 if end else 0
      if self.kind == "conv2d":
        margins[2] = [stride - 1, stride - 1]
      features = convolution(tf.pad(features, margins))
      lengths = -(-lengths // stride)
    if self.kind == "conv2d":
      batch, time = tf.unstack(tf.shape(features)[:2])
      width = signatures.known(features.shape[2]) * self.dim
      features = self.project(tf.reshape(features, [batch, time, width]))
    return features, lengths, following

  def frames(self, frames: signatures.Counts) -> signatures.Counts:
    """Output frames for `frames` input frames (an int or an integer array).

    Args:
      frames: a number of feature frames, or an array of such numbers.

    Returns:
      As many output frames for each, of the same kind.
    """
    for stride in self.strides:
      frames = -(-frames // stride)
    return frames

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "dim": self.dim,
      "factor": self.factor,
      "kind": self.kind,
    }

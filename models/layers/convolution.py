"""The convolution module of the Conformer and its depthwise convolution."""

from typing import Any

import keras
import tensorflow as tf

from models import signatures


def swish(x: tf.Tensor) -> tf.Tensor:
  """x * sigmoid(x), as plain ops.

  `tf.nn.silu` traces a function of its own at every use, which on 8 cores and
  dozens of layers costs more seconds of tracing than it saves of memory.

  Args:
    x: float [...].

  Returns:
    float [...].
  """
  return x * tf.sigmoid(x)


def depthwise_convolution(
  x: tf.Tensor, kernel: tf.Tensor, past: tf.Tensor | None = None
) -> tf.Tensor:
  """Convolves every channel over time with its own kernel.

  Args:
    x: float [B, T, C].
    kernel: float [K, C].
    past: None, or float [B, K - 1, C], the frames before; then no frame after
      the own is seen.

  Returns:
    float [B, T, C]: y[t] = sum_k kernel[k] * x[t + k - (K - 1) // 2], zero
    outside; with `past`, sum_k kernel[k] * x[t + k - (K - 1)].
  """
  taps = signatures.known(kernel.shape[0])
  before = (taps - 1) // 2
  if past is None:
    x = tf.pad(x, [[0, 0], [before, taps - 1 - before], [0, 0]])
  else:
    x = tf.concat([past, x], axis=1)
  y = tf.nn.depthwise_conv2d(
    tf.expand_dims(x, 1),
    kernel[None, :, :, None],
    strides=[1, 1, 1, 1],
    padding="VALID",
  )
  return tf.squeeze(y, axis=1)


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConvolutionModule(keras.layers.Layer):
  """Pointwise, gated linear unit, depthwise, norm, swish, pointwise.

  The paper normalises with BatchNorm. Here it is LayerNorm: BatchNorm's moving
  statistics differ from replica to replica and only one replica's are kept, and
  its batch statistics make an example's gradient depend on its neighbours,
  which per-core and per-example clipping must not.

  Args:
    dim: int, width of input and output.
    kernel: int, frames the depthwise convolution sees.
    causal: bool, whether it sees the own frame and those before only.

  References:
    Gulati et al., arXiv 2005.08100, figure 2.
  """

  def __init__(
    self, dim: int, kernel: int, causal: bool = False, **kwargs: Any
  ):
    super().__init__(**kwargs)
    self.dim, self.kernel, self.causal = int(dim), int(kernel), bool(causal)
    dense = keras.layers.Dense
    self.expand = dense(2 * self.dim, dtype=self.dtype_policy)
    self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy)
    self.project = dense(self.dim, dtype=self.dtype_policy)

  def build(
    self, x_shape: signatures.Shape, mask_shape: signatures.Shape | None = None
  ) -> None:
    shape = (None, None, self.dim)
    self.expand.build(shape)
    self.norm.build(shape)
    self.project.build(shape)
    self.depthwise = self.add_weight(
      name="depthwise",
      shape=[self.kernel, self.dim],
      # One channel's fan-in is the kernel's length.
      initializer=keras.initializers.RandomNormal(stddev=self.kernel**-0.5),
    )
    self.built = True

  def call(self, x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Applies the module.

    Args:
      x: float [B, T, dim].
      mask: bool [B, T], the valid frames.

    Returns:
      float [B, T, dim].
    """
    x = self._gate(x, mask)
    past = None
    if self.causal:
      past = tf.zeros([tf.shape(x)[0], self.kernel - 1, self.dim], x.dtype)
    return self._convolve(x, past)

  def step(
    self, x: tf.Tensor, mask: tf.Tensor, past: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies the causal module to the next frames of a stream.

    Args:
      x: float [B, T, dim].
      mask: bool [B, T], the valid frames.
      past: float [B, kernel - 1, dim], zeros or what the last step returned.

    Returns:
      float [B, T, dim], and the next `past`.
    """
    x = self._gate(x, mask)
    past = tf.cast(past, x.dtype)
    following = tf.concat([past, x], axis=1)[:, tf.shape(x)[1] :]
    return self._convolve(x, past), following

  def _gate(self, x, mask):
    value, gate = tf.split(self.expand(x), 2, axis=-1)
    return value * tf.sigmoid(gate) * tf.cast(mask, x.dtype)[:, :, None]

  def _convolve(self, x, past):
    x = depthwise_convolution(x, tf.cast(self.depthwise, x.dtype), past)
    return self.project(swish(self.norm(x)))

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "dim": self.dim,
      "kernel": self.kernel,
      "causal": self.causal,
    }

"""The convolution module of the Conformer and its depthwise convolution."""

import keras
import tensorflow as tf


@tf.custom_gradient
def depthwise_convolution(x, kernel):
  """Convolves every channel over time with its own kernel.

  A sum of shifted products, because the library's depthwise convolution is slow
  where it matters here: on CPU its gradient takes 1.5 times as long plain and
  over 10 times as long under XLA. The gradient is written out because the
  automatic one pads every shifted slice back to full length (5 times slower).

  Args:
    x: float [B, T, C].
    kernel: float [K, C].

  Returns:
    float [B, T, C]: y[t] = sum_k kernel[k] * x[t + k - (K - 1) // 2], zero
    outside.
  """
  taps = kernel.shape[0]
  before = (taps - 1) // 2
  after = taps - 1 - before
  time = tf.shape(x)[1]
  if x.shape[1] is not None:
    time = x.shape[1]

  def shifted(x, before, after):
    padded = tf.pad(x, [[0, 0], [before, after], [0, 0]])
    return [padded[:, tap : tap + time] for tap in range(taps)]

  def gradient(dy):
    # The adjoint runs the kernel backwards over the output's gradient.
    dx = tf.add_n(
      [
        part * kernel[taps - 1 - tap]
        for tap, part in enumerate(shifted(dy, after, before))
      ]
    )
    dkernel = tf.stack(
      [
        tf.reduce_sum(tf.cast(part * dy, tf.float32), axis=[0, 1])
        for part in shifted(x, before, after)
      ]
    )
    return dx, tf.cast(dkernel, kernel.dtype)

  y = tf.add_n(
    [part * kernel[tap] for tap, part in enumerate(shifted(x, before, after))]
  )
  return y, gradient


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

  References:
    Gulati et al., arXiv 2005.08100, figure 2.
  """

  def __init__(self, dim: int, kernel: int, **kwargs):
    super().__init__(**kwargs)
    self.dim, self.kernel = int(dim), int(kernel)
    dense = keras.layers.Dense
    self.expand = dense(2 * self.dim, dtype=self.dtype_policy)
    self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy)
    self.project = dense(self.dim, dtype=self.dtype_policy)

  def build(self, x_shape, lengths_shape=None):
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

  def call(self, x, lengths):
    """Applies the module.

    Args:
      x: float [B, T, dim].
      lengths: int32 [B], valid frames.

    Returns:
      float [B, T, dim].
    """
    value, gate = tf.split(self.expand(x), 2, axis=-1)
    mask = tf.sequence_mask(lengths, tf.shape(x)[1])[:, :, None]
    x = value * tf.sigmoid(gate)
    x = tf.where(mask, x, tf.zeros_like(x))
    x = depthwise_convolution(x, tf.cast(self.depthwise, x.dtype))
    return self.project(tf.nn.silu(self.norm(x)))

  def get_config(self):
    return {**super().get_config(), "dim": self.dim, "kernel": self.kernel}

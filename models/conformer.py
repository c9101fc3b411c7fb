"""The Conformer encoder and its sizes.

Source: Gulati et al., "Conformer: Convolution-augmented Transformer for Speech
Recognition", arXiv 2005.08100.
"""

import dataclasses

import keras
import tensorflow as tf

from models import attention, convolution, dropout, subsampling


@dataclasses.dataclass(frozen=True)
class ConformerConfig:
  """The shape of a Conformer encoder.

  Attributes:
    dim: width of the encoder.
    blocks: number of blocks.
    heads: attention heads; divides `dim`.
    kernel: frames the depthwise convolution sees.
    feed_forward_factor: hidden width of the feed-forward halves over `dim`.
    subsampling: "conv2d" (the paper's) or "conv1d" (cheap).
    subsampling_factor: 2, 4, 6 or 8 feature frames become one.
    dropout: rate in every residual branch.
  """

  dim: int
  blocks: int
  heads: int
  kernel: int = 32
  feed_forward_factor: int = 4
  subsampling: str = "conv2d"
  subsampling_factor: int = 4
  dropout: float = 0.1


# S, M and L are table 1 of the paper; tiny is this package's own, for CPUs.
SIZES = {
  "tiny": ConformerConfig(
    dim=144,
    blocks=3,
    heads=4,
    kernel=15,
    feed_forward_factor=2,
    subsampling="conv1d",
    dropout=0.0,
  ),
  "S": ConformerConfig(dim=144, blocks=16, heads=4),
  "M": ConformerConfig(dim=256, blocks=16, heads=4),
  "L": ConformerConfig(dim=512, blocks=17, heads=8),
}


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class FeedForward(keras.layers.Layer):
  """Norm, expansion, swish, projection, with dropout after both.

  Args:
    dim: int, width of input and output.
    factor: int, hidden width over `dim`.
    rate: float, dropout.
    seed: int.
  """

  def __init__(self, dim, factor=4, rate=0.0, seed=0, **kwargs):
    super().__init__(**kwargs)
    self.dim, self.factor = int(dim), int(factor)
    self.rate, self.seed = float(rate), int(seed)
    policy = self.dtype_policy
    self.norm = keras.layers.LayerNormalization(dtype=policy)
    self.expand = keras.layers.Dense(
      self.dim * self.factor, activation=convolution.swish, dtype=policy
    )
    self.project = keras.layers.Dense(self.dim, dtype=policy)
    self.inner_dropout = dropout.ReplicaDropout(rate, seed, dtype=policy)
    self.outer_dropout = dropout.ReplicaDropout(rate, seed + 1, dtype=policy)

  def build(self, x_shape):
    self.norm.build((None, None, self.dim))
    self.expand.build((None, None, self.dim))
    self.project.build((None, None, self.dim * self.factor))
    self.built = True

  def call(self, x, training=False):
    x = self.inner_dropout(self.expand(self.norm(x)), training=training)
    return self.outer_dropout(self.project(x), training=training)

  def get_config(self):
    return {
      **super().get_config(),
      "dim": self.dim,
      "factor": self.factor,
      "rate": self.rate,
      "seed": self.seed,
    }


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConformerBlock(keras.layers.Layer):
  """Half feed-forward, attention, convolution, half feed-forward, norm.

  Args:
    config: `ConformerConfig` or its dict.
    seed: int.

  References:
    arXiv 2005.08100, equation 1.
  """

  def __init__(self, config, seed=0, **kwargs):
    super().__init__(**kwargs)
    if not isinstance(config, ConformerConfig):
      config = ConformerConfig(**config)
    self.config, self.seed = config, int(seed)
    policy = self.dtype_policy
    dim, rate = config.dim, config.dropout
    factor = config.feed_forward_factor
    self.first = FeedForward(dim, factor, rate, seed, dtype=policy)
    self.attention_norm = keras.layers.LayerNormalization(dtype=policy)
    self.attention = attention.RelativeSelfAttention(
      dim, config.heads, dtype=policy
    )
    self.attention_dropout = dropout.ReplicaDropout(
      rate, seed + 2, dtype=policy
    )
    self.convolution_norm = keras.layers.LayerNormalization(dtype=policy)
    self.convolution = convolution.ConvolutionModule(
      dim, config.kernel, dtype=policy
    )
    self.convolution_dropout = dropout.ReplicaDropout(
      rate, seed + 3, dtype=policy
    )
    self.second = FeedForward(dim, factor, rate, seed + 4, dtype=policy)
    self.norm = keras.layers.LayerNormalization(dtype=policy)

  def build(self, x_shape, positions_shape=None, mask_shape=None):
    for layer in (
      self.first,
      self.attention_norm,
      self.attention,
      self.convolution_norm,
      self.convolution,
      self.second,
      self.norm,
    ):
      layer.build((None, None, self.config.dim))
    self.built = True

  def call(self, x, positions, mask, training=False):
    """Applies the block.

    Args:
      x: float [B, T, dim].
      positions: float [2T - 1, dim].
      mask: bool [B, T], the valid frames.
      training: bool, turns dropout on.

    Returns:
      float [B, T, dim].
    """
    x += 0.5 * self.first(x, training=training)
    branch = self.attention(self.attention_norm(x), positions, mask)
    x += self.attention_dropout(branch, training=training)
    branch = self.convolution(self.convolution_norm(x), mask)
    x += self.convolution_dropout(branch, training=training)
    x += 0.5 * self.second(x, training=training)
    return self.norm(x)

  def get_config(self):
    return {
      **super().get_config(),
      "config": dataclasses.asdict(self.config),
      "seed": self.seed,
    }


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConformerEncoder(keras.layers.Layer):
  """Subsampling and a stack of Conformer blocks.

  Neither padding nor the other utterances of a batch change a valid output
  frame.

  Args:
    config: `ConformerConfig` or its dict.
    seed: int, for dropout.

  Example:
    >>> encoder = ConformerEncoder(SIZES["tiny"])
    >>> outputs, lengths = encoder(tf.zeros([2, 98, 80]), tf.constant([98, 48]))
    >>> outputs.shape, lengths.numpy()
    (TensorShape([2, 25, 144]), array([25, 12], dtype=int32))
  """

  # Apart enough that no two generators of a model start alike.
  _SEEDS_PER_BLOCK = 16

  def __init__(self, config, seed=0, **kwargs):
    super().__init__(**kwargs)
    if not isinstance(config, ConformerConfig):
      config = ConformerConfig(**config)
    self.config, self.seed = config, int(seed)
    policy = self.dtype_policy
    self.subsampling = subsampling.ConvolutionSubsampling(
      config.dim, config.subsampling_factor, config.subsampling, dtype=policy
    )
    self.dropout = dropout.ReplicaDropout(config.dropout, seed, dtype=policy)
    self.blocks = [
      ConformerBlock(
        config, seed + (1 + index) * self._SEEDS_PER_BLOCK, dtype=policy
      )
      for index in range(config.blocks)
    ]

  def build(self, features_shape, lengths_shape=None):
    self.subsampling.build(features_shape)
    for block in self.blocks:
      block.build((None, None, self.config.dim))
    self.built = True

  def call(self, features, lengths, training=False):
    """Encodes.

    Args:
      features: float [B, T, F].
      lengths: int32 [B], valid frames.
      training: bool, turns dropout on.

    Returns:
      float [B, T', dim] and int32 [B], valid output frames.
    """
    x, lengths = self.subsampling(features, lengths)
    x = self.dropout(x, training=training)
    time = x.shape[1] if x.shape[1] is not None else tf.shape(x)[1]
    positions = attention.relative_positions(time, self.config.dim)
    positions = tf.cast(positions, x.dtype)
    mask = tf.sequence_mask(lengths, time)
    for block in self.blocks:
      x = block(x, positions, mask, training=training)
    return x, lengths

  @property
  def dim(self):
    """Width of the output."""
    return self.config.dim

  def frames(self, frames):
    """Output frames for `frames` feature frames (an int or integer array)."""
    return self.subsampling.frames(frames)

  def get_config(self):
    return {
      **super().get_config(),
      "config": dataclasses.asdict(self.config),
      "seed": self.seed,
    }

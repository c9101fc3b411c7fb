"""The Conformer encoder and its sizes.

Source: Gulati et al., "Conformer: Convolution-augmented Transformer for Speech
Recognition", arXiv 2005.08100.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from models import signatures
from models.layers import (
  attention,
  convolution,
  dropout,
  feed_forward,
  subsampling,
)


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
    causal: whether the depthwise convolution sees the past only.
    chunk_frames: frames (after subsampling) of a chunk, whose frames see each
      other and `left_chunks` chunks before theirs; 0: all see all.
    left_chunks: chunks before its own that a frame sees.

  Raises:
    ValueError: If a size is below 1, or a number of chunks or frames negative.
  """

  dim: int
  blocks: int
  heads: int
  kernel: int = 32
  feed_forward_factor: int = 4
  subsampling: str = "conv2d"
  subsampling_factor: int = 4
  dropout: float = 0.1
  causal: bool = False
  chunk_frames: int = 0
  left_chunks: int = 0

  def __post_init__(self):
    sizes = ("dim", "blocks", "heads", "kernel", "feed_forward_factor")
    smallest = dict.fromkeys(sizes, 1) | {"chunk_frames": 0, "left_chunks": 0}
    for name, least in smallest.items():
      value = getattr(self, name)
      if value < least:
        raise ValueError(
          f"{name} must be at least {least}. Received: {name}={value}"
        )


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
class ConformerBlock(keras.layers.Layer):
  """Half feed-forward, attention, convolution, half feed-forward, norm.

  Args:
    config: `ConformerConfig` or its dict.
    seed: int.

  References:
    arXiv 2005.08100, equation 1.
  """

  def __init__(
    self,
    config: ConformerConfig | Mapping[str, Any],
    seed: int = 0,
    **kwargs: Any,
  ):
    super().__init__(**kwargs)
    if not isinstance(config, ConformerConfig):
      config = ConformerConfig(**config)
    self.config, self.seed = config, int(seed)
    policy = self.dtype_policy
    dim, rate = config.dim, config.dropout
    factor = config.feed_forward_factor
    self.first = feed_forward.FeedForward(dim, factor, rate, seed, dtype=policy)
    self.attention_norm = keras.layers.LayerNormalization(dtype=policy)
    self.attention = attention.RelativeSelfAttention(
      dim, config.heads, dtype=policy
    )
    self.attention_dropout = dropout.ReplicaDropout(
      rate, seed + 2, dtype=policy
    )
    self.convolution_norm = keras.layers.LayerNormalization(dtype=policy)
    self.convolution = convolution.ConvolutionModule(
      dim, config.kernel, config.causal, dtype=policy
    )
    self.convolution_dropout = dropout.ReplicaDropout(
      rate, seed + 3, dtype=policy
    )
    self.second = feed_forward.FeedForward(
      dim, factor, rate, seed + 4, dtype=policy
    )
    self.norm = keras.layers.LayerNormalization(dtype=policy)

  def build(
    self,
    x_shape: signatures.Shape,
    positions_shape: signatures.Shape | None = None,
    mask_shape: signatures.Shape | None = None,
    seen_shape: signatures.Shape | None = None,
  ) -> None:
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

  def call(
    self,
    x: tf.Tensor,
    positions: tf.Tensor,
    mask: tf.Tensor,
    seen: tf.Tensor | None = None,
    training: bool = False,
  ) -> tf.Tensor:
    """Applies the block.

    Args:
      x: float [B, T, dim].
      positions: float [2T - 1, dim].
      mask: bool [B, T], the valid frames.
      seen: bool [B, T, T], the frames that frame i sees, or None for all the
        valid ones.
      training: bool, turns dropout on.

    Returns:
      float [B, T, dim].
    """
    x += 0.5 * self.first(x, training=training)
    branch = self.attention(
      self.attention_norm(x), positions, mask if seen is None else seen
    )
    x += self.attention_dropout(branch, training=training)
    branch = self.convolution(self.convolution_norm(x), mask)
    x += self.convolution_dropout(branch, training=training)
    x += 0.5 * self.second(x, training=training)
    return self.norm(x)

  def initial_state(self, batch: signatures.Size) -> dict[str, tf.Tensor]:
    """What `step` takes before a stream's first chunk: zeros."""
    config = self.config
    past = config.left_chunks * config.chunk_frames
    heads = [batch, config.heads, past, config.dim // config.heads]
    return {
      "keys": tf.zeros(heads),
      "values": tf.zeros(heads),
      "convolution": tf.zeros([batch, config.kernel - 1, config.dim]),
    }

  def step(
    self,
    x: tf.Tensor,
    positions: tf.Tensor,
    mask: tf.Tensor,
    seen: tf.Tensor,
    past: dict[str, tf.Tensor],
  ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Applies the block to the next chunk of a stream.

    Args:
      x: float [B, T, dim].
      positions: float [P + 2T - 1, dim] for P frames before the chunk.
      mask: bool [B, T], the valid frames.
      seen: bool [B, P + T], the valid frames, those before included.
      past: what `initial_state` or the last step returned.

    Returns:
      float [B, T, dim], and the next `past`.
    """
    x += 0.5 * self.first(x)
    branch, (keys, values) = self.attention.step(
      self.attention_norm(x), positions, seen, (past["keys"], past["values"])
    )
    x += branch
    branch, convolution_past = self.convolution.step(
      self.convolution_norm(x), mask, past["convolution"]
    )
    x += branch
    x += 0.5 * self.second(x)
    past = {"keys": keys, "values": values, "convolution": convolution_past}
    return self.norm(x), past

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "config": dataclasses.asdict(self.config),
      "seed": self.seed,
    }


# What a block carries from chunk to chunk.
_STATE = ("keys", "values", "convolution")


def _stack(states):
  """States of blocks to one of [B, blocks, ...] float32 tensors."""
  return {
    name: tf.stack([tf.cast(s[name], tf.float32) for s in states], axis=1)
    for name in _STATE
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

  def __init__(
    self,
    config: ConformerConfig | Mapping[str, Any],
    seed: int = 0,
    **kwargs: Any,
  ):
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

  def build(
    self,
    features_shape: signatures.Shape,
    lengths_shape: signatures.Shape | None = None,
  ) -> None:
    self.subsampling.build(features_shape)
    for block in self.blocks:
      block.build((None, None, self.config.dim))
    self.built = True

  def call(
    self, features: tf.Tensor, lengths: tf.Tensor, training: bool = False
  ) -> tuple[tf.Tensor, tf.Tensor]:
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
    mask, seen = tf.sequence_mask(lengths, time), None
    if self.config.chunk_frames:
      seen = mask[:, None, :] & attention.chunk_mask(
        time, self.config.chunk_frames, self.config.left_chunks
      )
    for block in self.blocks:
      x = block(x, positions, mask, seen, training=training)
    return x, lengths

  def initial_state(self, batch: signatures.Size) -> dict[str, tf.Tensor]:
    """What `step` takes before a stream's first chunk.

    Args:
      batch: int, streams B.

    Returns:
      dict of float32 and int32 tensors, the first axis B; for N blocks the
      second axis of keys, values and convolution is N.

    Raises:
      ValueError: If the encoder looks ahead, so cannot stream.
    """
    config = self.config
    if not (config.causal and config.chunk_frames):
      raise ValueError(
        "A Conformer streams with causal=True and chunk_frames above 0. "
        f"Received: causal={config.causal}, chunk_frames={config.chunk_frames}"
      )
    state = _stack([block.initial_state(batch) for block in self.blocks])
    for index, past in enumerate(self.subsampling.initial_state(batch)):
      state[f"subsampling_{index}"] = past
    return {**state, "frames": tf.zeros([batch], tf.int32)}

  def step(
    self, features: tf.Tensor, lengths: tf.Tensor, state: dict[str, tf.Tensor]
  ) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
    """Encodes the next chunk of a stream.

    Chunks one after another give what `call` gives of the whole.

    Args:
      features: float [B, chunk_frames * subsampling_factor, F].
      lengths: int32 [B], valid frames; less than all only at the end.
      state: what `initial_state` or the last step returned.

    Returns:
      float [B, chunk_frames, dim], int32 [B], the valid frames, and the next
      state.
    """
    config, following = self.config, {}
    x, lengths, past = self.subsampling.step(
      tf.cast(features, self.compute_dtype),
      lengths,
      [state[f"subsampling_{i}"] for i in range(len(self.subsampling.strides))],
    )
    for index, tensor in enumerate(past):
      following[f"subsampling_{index}"] = tensor
    chunk, before = (
      config.chunk_frames,
      config.left_chunks * config.chunk_frames,
    )
    positions = attention.relative_positions(before + chunk, config.dim)
    positions = tf.cast(positions[: before + 2 * chunk - 1], x.dtype)
    mask = tf.sequence_mask(lengths, chunk)
    started = tf.range(before) >= before - state["frames"][:, None]
    seen = tf.concat([started, mask], axis=1)
    pasts = []
    for index, block in enumerate(self.blocks):
      past = {name: state[name][:, index] for name in _STATE}
      x, past = block.step(x, positions, mask, seen, past)
      pasts.append(past)
    following |= _stack(pasts)
    # More than the attention can see need not be counted.
    following["frames"] = tf.minimum(state["frames"] + lengths, before)
    return x, lengths, following

  @property
  def dim(self) -> int:
    """Width of the output."""
    return self.config.dim

  def frames(self, frames: signatures.Counts) -> signatures.Counts:
    """Output frames for `frames` feature frames (an int or integer array)."""
    return self.subsampling.frames(frames)

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "config": dataclasses.asdict(self.config),
      "seed": self.seed,
    }

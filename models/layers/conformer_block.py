"""The shape of a Conformer, and the block of which it is a stack.

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
  rotary,
)

# By the name that `ConformerConfig.position` takes.
ATTENTIONS = {
  "relative": attention.RelativeSelfAttention,
  "rotary": rotary.RotarySelfAttention,
}


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
    position: how attention knows places: "relative" (the paper's) or "rotary",
      which has no weights for them.
    shift_free: of "relative" alone: see `attention.RelativeSelfAttention`. The
      weights and, up to rounding, the outputs are the same; None: as it suits
      the device and `dim`.

  Raises:
    ValueError: If a size is below 1, a number of chunks or frames negative, a
      name not known, or `shift_free` given for another attention.
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
  position: str = "relative"
  shift_free: bool | None = None

  def __post_init__(self):
    sizes = ("dim", "blocks", "heads", "kernel", "feed_forward_factor")
    smallest = dict.fromkeys(sizes, 1) | {"chunk_frames": 0, "left_chunks": 0}
    for name, least in smallest.items():
      value = getattr(self, name)
      if value < least:
        raise ValueError(
          f"{name} must be at least {least}. Received: {name}={value}"
        )
    if self.position not in ATTENTIONS:
      raise ValueError(
        f"position must be one of {sorted(ATTENTIONS)}. "
        f"Received: position={self.position!r}"
      )
    free = self.shift_free
    if free not in (None, False, True) or (
      free is not None and self.position != "relative"
    ):
      raise ValueError(
        "shift_free must be True, False or None, and None where position is "
        f"not 'relative'. Received: shift_free={free!r}, "
        f"position={self.position!r}"
      )


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
    form = {}
    if config.position == "relative":
      form["shift_free"] = config.shift_free
    self.attention = ATTENTIONS[config.position](
      dim, config.heads, dtype=policy, **form
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
      positions: `attention.positions(T, T)`.
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
    """What `step` takes before a stream's first chunk: zeros.

    Args:
      batch: number of streams, or of hypotheses, B.

    Returns:
      dict of keys, values and convolution, float32 [B, ...].
    """
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
      positions: `attention.positions(P + T, T)` for P frames before the chunk.
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

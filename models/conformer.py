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
from models.layers import attention, dropout, subsampling
from models.layers.conformer_block import ConformerBlock, ConformerConfig

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
    positions = tf.cast(self._positions(time, time), x.dtype)
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
    positions = tf.cast(self._positions(before + chunk, chunk), x.dtype)
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

  def _positions(self, frames, asking):
    """What all blocks' attention has to know of the frames' places."""
    return self.blocks[0].attention.positions(frames, asking)

  @property
  def dim(self) -> int:
    """Width of the output."""
    return self.config.dim

  def frames(self, frames: signatures.Counts) -> signatures.Counts:
    """Output frames for `frames` feature frames (an int or integer array).

    Args:
      frames: a number of feature frames, or an array of such numbers.

    Returns:
      As many output frames for each, of the same kind.
    """
    return self.subsampling.frames(frames)

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "config": dataclasses.asdict(self.config),
      "seed": self.seed,
    }

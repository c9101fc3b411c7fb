"""The LSTM encoder and its sizes.

Source: Graves, Mohamed and Hinton, "Speech Recognition with Deep Recurrent
Neural Networks", arXiv 1303.5778.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from models import signatures
from models.layers import dropout, subsampling


@dataclasses.dataclass(frozen=True)
class LSTMConfig:
  """The shape of an LSTM encoder.

  Attributes:
    units: cells of a layer, in each direction.
    layers: number of layers.
    bidirectional: whether a second LSTM of each layer runs from the
      utterance's end to its start.
    subsampling: "conv2d" or "conv1d" (cheap).
    subsampling_dim: filters of the subsampling; 0: as many as `units`.
    subsampling_factor: 2, 4, 6 or 8 feature frames become one.
    dropout: rate after the subsampling and after every layer.

  Raises:
    ValueError: If units or layers are below 1.
  """

  units: int
  layers: int
  bidirectional: bool = True
  subsampling: str = "conv1d"
  subsampling_dim: int = 0
  subsampling_factor: int = 4
  dropout: float = 0.1

  def __post_init__(self):
    for name in ("units", "layers"):
      if getattr(self, name) < 1:
        raise ValueError(
          f"{name} must be at least 1. Received: {name}={getattr(self, name)}"
        )


# S and M have the layers and cells of CTC-3l-250h and CTC-5l-250h in table 1 of
# the paper, behind a subsampling that it does not have; tiny and L are this
# package's own.
SIZES = {
  "tiny": LSTMConfig(units=160, layers=2, dropout=0.0),
  "S": LSTMConfig(units=250, layers=3),
  "M": LSTMConfig(units=250, layers=5),
  "L": LSTMConfig(units=512, layers=5),
}


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class LSTMEncoder(keras.layers.Layer):
  """Subsampling and a stack of LSTM layers, each with a layer norm behind it.

  Neither padding nor the other utterances of a batch change a valid output
  frame: a masked frame leaves an LSTM's state as it is, so the one that runs
  backwards begins at every utterance's own end.

  Args:
    config: `LSTMConfig` or its dict.
    seed: int, for dropout.

  Example:
    >>> encoder = LSTMEncoder(SIZES["tiny"])
    >>> outputs, lengths = encoder(tf.zeros([2, 98, 80]), tf.constant([98, 48]))
    >>> outputs.shape, lengths.numpy()
    (TensorShape([2, 25, 320]), array([25, 12], dtype=int32))
  """

  def __init__(
    self, config: LSTMConfig | Mapping[str, Any], seed: int = 0, **kwargs: Any
  ):
    super().__init__(**kwargs)
    if not isinstance(config, LSTMConfig):
      config = LSTMConfig(**config)
    self.config, self.seed = config, int(seed)
    policy = self.dtype_policy
    self.dim = config.units * (2 if config.bidirectional else 1)
    self.subsampling_dim = config.subsampling_dim or config.units
    self.subsampling = subsampling.ConvolutionSubsampling(
      self.subsampling_dim,
      config.subsampling_factor,
      config.subsampling,
      dtype=policy,
    )
    self.dropouts = [
      dropout.ReplicaDropout(config.dropout, seed + index, dtype=policy)
      for index in range(config.layers + 1)
    ]
    self.recurrent = [self._layer(policy) for _ in range(config.layers)]
    self.norms = [
      keras.layers.LayerNormalization(dtype=policy)
      for _ in range(config.layers)
    ]

  def _layer(self, policy):
    # cuDNN's kernel is no part of XLA.
    layer = keras.layers.LSTM(
      self.config.units,
      return_sequences=True,
      # Keras does not annotate that a bool will do too.
      use_cudnn=False,  # pyright: ignore[reportArgumentType]
      dtype=policy,
    )
    if self.config.bidirectional:
      layer = keras.layers.Bidirectional(layer, dtype=policy)
    return layer

  def build(
    self,
    features_shape: signatures.Shape,
    lengths_shape: signatures.Shape | None = None,
  ) -> None:
    self.subsampling.build(features_shape)
    width = self.subsampling_dim
    for layer, norm in zip(self.recurrent, self.norms):
      layer.build((None, None, width))
      width = self.dim
      norm.build((None, None, width))
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
    x = self.dropouts[0](x, training=training)
    mask = tf.sequence_mask(lengths, tf.shape(x)[1])
    for layer, norm, drop in zip(self.recurrent, self.norms, self.dropouts[1:]):
      x = drop(norm(layer(x, mask=mask)), training=training)
    return x, lengths

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

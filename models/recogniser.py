"""The base of all recognisers: SpecAugment, labels, decoding."""

from typing import Any

import tensorflow as tf

from models import signatures
from models.layers import specaugment as _specaugment
from models.speech_model import SpeechModel


class Recogniser(SpeechModel):
  """`SpeechModel` with SpecAugment and labels; the base of all recognisers.

  Takes y = {"labels": int32 [B, U], "label_length": int32 [B]}. Token 0 is the
  blank. What a family needs of the encoder comes from `self.encode(x,
  training)`. Besides what `SpeechModel` asks for, it writes:

  - `decode(outputs)`: greedy token ids int32 [B, U] and their number int32 [B],
    in the graph, of static shapes;
  - `decode_scored(outputs)`: the same and the greedy paths' log-probabilities,
    float32 [B], -inf for audio that is not finite;
  - `n_best(outputs, n, beam_width)`: ids int32 [B, n, U] padded with 0, their
    numbers int32 [B, n], and log-probabilities float32 [B, n], best first.

  Args:
    vocab_size: int, number of classes, the blank included.
    features: dict of arguments of `features.LogMel`, or None.
    specaugment: dict of arguments of `specaugment.SpecAugment`, or None.
    seed: int, as in `SpeechModel`.

  Raises:
    ValueError: If there is no token but the blank.
  """

  def __init__(
    self,
    *,
    vocab_size: int,
    features: dict | None = None,
    specaugment: dict | None = None,
    seed: int = 0,
    **kwargs: Any,
  ):
    super().__init__(features=features, seed=seed, **kwargs)
    if vocab_size < 2:
      raise ValueError(
        "vocab_size must be at least 2, the blank and one token. "
        f"Received: vocab_size={vocab_size}"
      )
    self.config["vocab_size"] = int(vocab_size)
    self.config["specaugment"] = dict(specaugment or {})
    self.specaugment = _specaugment.SpecAugment(
      **{"seed": self.layer_seed(1), **self.config["specaugment"]}
    )
    self.specaugment.build((None, None, self.log_mel.mels))

  def encode(
    self, x: signatures.Inputs, training: bool = False
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Audio to the encoder's output, float [B, T, dim], and its length.

    Args:
      x: what `call` takes.
      training: whether noise, such as dropout, is added.

    Returns:
      float [B, T, dim] and int32 [B].
    """
    features, length = self.extract_features(x, training=training)
    features = self.specaugment(features, length, training=training)
    return self.encoder(features, length, training=training)

  def decode(self, outputs: signatures.Outputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Greedy token ids int32 [B, U] and their number int32 [B].

    Args:
      outputs: what `call` returned.

    Returns:
      int32 [B, U] and int32 [B].
    """
    raise NotImplementedError("a Recogniser must write decode")

  def decode_scored(
    self, outputs: signatures.Outputs
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As `decode`, and the paths' log-probabilities, float32 [B].

    Args:
      outputs: what `call` returned.

    Returns:
      int32 [B, U], int32 [B] and float32 [B].
    """
    raise NotImplementedError("a Recogniser must write decode_scored")

  def n_best(
    self, outputs: signatures.Outputs, n: int, beam_width: int
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The n best hypotheses.

    Args:
      outputs: what `call` returned.
      n: int, number of hypotheses.
      beam_width: int, at least n.

    Returns:
      ids int32 [B, n, U] padded with 0, their numbers int32 [B, n], and
      log-probabilities float32 [B, n], best first.
    """
    raise NotImplementedError("a Recogniser must write n_best")

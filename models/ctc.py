"""Recognisers trained with connectionist temporal classification."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models import conformer, lstm, recogniser, signatures, speech_model
from models.decoding import ctc_decoding
from models.layers import blank_prior as blank_priors
from models.losses import ctc_loss


class CTC(recogniser.Recogniser):
  """An encoder and a CTC output layer; input as `Recogniser` says.

  Gives {"logits": float32 [B, T, V], "length": int32 [B]}. A family names its
  encoder's layer in `encoder_layer`.

  Args:
    vocab_size: int, number of classes, the blank included.
    encoder: the encoder's config, a dataclass or its dict.
    features: dict of arguments of `features.LogMel`, or None.
    specaugment: dict of arguments of `specaugment.SpecAugment`, or None.
    blank_prior: float, probability of the blank before training, see
      `blank_prior.BlankPrior`.
    seed: int, for the noise of training; weights are drawn from Keras's global
      seed (`keras.utils.set_random_seed`).
  """

  encoder_layer: type[conformer.ConformerEncoder] | type[lstm.LSTMEncoder]

  has_ctc = True

  def __init__(
    self,
    *,
    vocab_size: int,
    encoder: conformer.ConformerConfig | lstm.LSTMConfig | Mapping[str, Any],
    features: dict | None = None,
    specaugment: dict | None = None,
    blank_prior: float = 0.9,
    seed: int = 0,
    **kwargs: Any,
  ):
    super().__init__(
      vocab_size=vocab_size,
      features=features,
      specaugment=specaugment,
      seed=seed,
      **kwargs,
    )
    if dataclasses.is_dataclass(encoder):
      encoder = dataclasses.asdict(encoder)
    self.config["encoder"] = dict(encoder)
    self.config["blank_prior"] = float(blank_prior)
    self.encoder = self.encoder_layer(
      self.config["encoder"], seed=self.layer_seed(2), dtype=self.dtype_policy
    )
    self.head = blank_priors.output_layer(vocab_size, blank_prior)

  def fits_lengths(
    self,
    labels: np.ndarray,
    repeats: np.ndarray,
    samples: np.ndarray,
  ) -> np.ndarray:
    """Whether CTC can place the labels: a frame each, one more in repeats.

    Args:
      labels: ints [N], how many labels each utterance has.
      repeats: ints [N], how many of them equal the one before.
      samples: ints [N], how many samples each has.

    Returns:
      bool [N].
    """
    return np.less_equal(labels + repeats, self.frames(samples))

  def build_outputs(self, dim: int) -> None:
    """Builds the output layers.

    Args:
      dim: the encoder's width.
    """
    self.head.build((None, None, dim))

  def call(
    self, x: signatures.Inputs, training: bool = False
  ) -> signatures.Outputs:
    encoded, length = self.encode(x, training=training)
    return {"logits": self.head(encoded), "length": length}

  def example_losses(
    self, y: signatures.Inputs, outputs: signatures.Outputs
  ) -> tf.Tensor:
    """float32 [B], every utterance's loss in nats.

    `models.losses.ctc_loss` lists the results of unusual input.

    Args:
      y: {"labels": int32 [B, U], "label_length": int32 [B]}.
      outputs: what `call` returned.

    Returns:
      float32 [B], nats.
    """
    return ctc_loss.ctc_losses(
      y["labels"], y["label_length"], outputs["logits"], outputs["length"]
    )

  def decode(self, outputs: signatures.Outputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Greedy token ids int32 [B, T] and their number int32 [B].

    Audio that is not finite has none.

    Args:
      outputs: what `call` returned.

    Returns:
      int32 [B, U] and int32 [B].
    """
    return ctc_decoding.greedy(outputs["logits"], outputs["length"])

  def decode_scored(
    self, outputs: signatures.Outputs
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As `decode`, and float32 [B], log-probabilities of the best paths.

    0 for audio without frames, -inf for audio that is not finite.

    Args:
      outputs: what `call` returned.

    Returns:
      int32 [B, U], int32 [B] and float32 [B].
    """
    scores = ctc_decoding.greedy_scores(outputs["logits"], outputs["length"])
    return *self.decode(outputs), scores

  def n_best(
    self, outputs: signatures.Outputs, n: int, beam_width: int
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The n best label sequences; see `decoding.beam_search`.

    Args:
      outputs: what `call` returned.
      n: int, at most `beam_width`.
      beam_width: int, prefixes kept in every frame.

    Returns:
      int32 [B, n, U] ids padded with 0, int32 [B, n] their numbers, and float32
      [B, n] log-probabilities, best first.
    """
    return ctc_decoding.beam_search(
      outputs["logits"], outputs["length"], beam_width, n
    )

  def frame_log_probs(
    self, outputs: signatures.Outputs
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """CTC's log-probabilities, float32 [B, T, V], and lengths int32 [B].

    What alignment and fusion with a language model take. Audio that is not
    finite has no frames.

    Args:
      outputs: what `call` returned.

    Returns:
      float32 [B, T, V] and int32 [B].
    """
    length = speech_model.finite_length(outputs["logits"], outputs["length"])
    return tf.nn.log_softmax(outputs["logits"]), length


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConformerCTC(CTC):
  """`CTC` with a Conformer; `encoder` is a `conformer.ConformerConfig`.

  Example:
    >>> model = ConformerCTC(vocab_size=30, encoder=conformer.SIZES["tiny"])
    >>> model.build_from_signature()
    >>> length = tf.constant([16000])
    >>> x = {"audio": tf.zeros([1, 16000]), "audio_length": length}
    >>> model(x)["logits"].shape
    TensorShape([1, 25, 30])
  """

  encoder_layer = conformer.ConformerEncoder


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class LSTMCTC(CTC):
  """`CTC` with LSTM layers; `encoder` is an `lstm.LSTMConfig`.

  Source: Graves et al., arXiv 1303.5778.

  Example:
    >>> model = LSTMCTC(vocab_size=30, encoder=lstm.SIZES["tiny"])
    >>> model.build_from_signature()
    >>> length = tf.constant([16000])
    >>> x = {"audio": tf.zeros([1, 16000]), "audio_length": length}
    >>> model(x)["logits"].shape
    TensorShape([1, 25, 30])
  """

  encoder_layer = lstm.LSTMEncoder

"""Conformer recognisers trained with the transducer loss and CTC."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models import signatures
from models.layers import blank_prior as blank_priors
from models.losses import ctc_loss
from models.transducer import ConformerTransducer


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConformerHybrid(ConformerTransducer):
  """`ConformerTransducer` with a CTC output layer on the same encoder.

  Gives "logits", float32 [B, T, V], besides. Transcripts come from the
  transducer; `frame_log_probs` lets CTC say when a word was spoken.

  Args:
    ctc_weight: float in (0, 1): the loss is (1 - ctc_weight) times the
      transducer's plus ctc_weight times CTC's.
    **arguments: as for `ConformerTransducer`.

  Raises:
    ValueError: If a value is not one of those.

  References:
    Boyer et al., "A Study of Transducer based End-to-End ASR with ESPnet",
    arXiv 2201.05420 (CTC as the auxiliary loss).
  """

  has_ctc = True

  def __init__(self, *, ctc_weight: float = 0.3, **arguments: Any):
    super().__init__(**arguments)
    if not 0 < ctc_weight < 1:
      raise ValueError(
        "ctc_weight must be between 0 and 1; use ConformerTransducer or "
        f"ConformerCTC for one loss. Received: ctc_weight={ctc_weight}"
      )
    self.config["ctc_weight"] = float(ctc_weight)
    self.head = blank_priors.output_layer(
      self.config["vocab_size"], self.config["blank_prior"]
    )

  def fits_lengths(
    self,
    labels: np.ndarray,
    repeats: np.ndarray,
    samples: np.ndarray,
  ) -> np.ndarray:
    """Whether both outputs can place the labels.

    Args:
      labels: ints [N], how many labels each utterance has.
      repeats: ints [N], how many of them equal the one before.
      samples: ints [N], how many samples each has.

    Returns:
      bool [N].
    """
    in_frames = np.less_equal(labels + repeats, self.frames(samples))
    return in_frames & super().fits_lengths(labels, repeats, samples)

  def build_outputs(self, dim: int) -> None:
    """Builds the output layers.

    Args:
      dim: the encoder's width.
    """
    super().build_outputs(dim)
    self.head.build((None, None, dim))

  def call(
    self, x: signatures.Inputs, training: bool = False
  ) -> signatures.Outputs:
    outputs = super().call(x, training=training)
    return {**outputs, "logits": self.head(outputs["encoded"])}

  def _lattice_losses(self, y, outputs, pruning):
    weight = self.config["ctc_weight"]
    by_ctc = ctc_loss.ctc_losses(
      y["labels"], y["label_length"], outputs["logits"], outputs["length"]
    )
    losses = super()._lattice_losses(y, outputs, pruning)
    return (1 - weight) * losses + weight * by_ctc

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
    log_probs = tf.nn.log_softmax(outputs["logits"])
    return log_probs, self._usable_length(outputs)

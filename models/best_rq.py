"""BEST-RQ: pre-training of an encoder on speech without transcripts.

Source: Chiu et al., "Self-supervised Learning with Random-projection Quantizer
for Speech Recognition", arXiv 2202.01855.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from models import conformer, signatures, speech_model
from models.layers import quantizer, seeds


def random_spans(
  length: tf.Tensor,
  time: signatures.Size,
  span: int,
  probability: float,
  seed: tf.Tensor,
) -> tf.Tensor:
  """Masks of spans that begin at every frame with some probability.

  An utterance without any gets one at a random frame, since one without a
  masked frame teaches nothing.

  Args:
    length: int32 [B], valid frames.
    time: int or int32 scalar, frames T.
    span: int, frames of a span; spans overlap and end with the utterance.
    probability: float, of a frame to begin a span.
    seed: int32 [2].

  Returns:
    bool [B, T].
  """
  uniform = tf.random.stateless_uniform(
    tf.stack([tf.shape(length)[0], time + 1]), seed
  )
  valid = tf.sequence_mask(length, time)
  starts = (uniform[:, 1:] < probability) & valid
  somewhere = tf.cast(uniform[:, 0] * tf.cast(length, tf.float32), tf.int32)
  forced = tf.range(time) == tf.minimum(somewhere, length - 1)[:, None]
  none = ~tf.reduce_any(starts, axis=1, keepdims=True)
  starts = tf.cast(starts | (none & forced), tf.int32)
  begun = tf.pad(tf.cumsum(starts, axis=1), [[0, 0], [span, 0]])
  return (begun[:, span:] > begun[:, :-span]) & valid


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class BestRQ(speech_model.SpeechModel):
  """A Conformer that predicts the codes of masked frames.

  Spans of the normalised features are replaced by noise; the targets are the
  codes of the features as they were, stacked to the encoder's frame rate; the
  loss counts masked frames only. Masks begin and end on that rate's frames.
  Labels are ignored. Gives {"logits": float32 [B, T, codebook_size], "length":
  int32 [B], "codes": int32 [B, T], "masked": bool [B, T]}.

  With training=False every third span is masked, the same in all utterances,
  by zeros, the noise's mean: so two evaluations see the same.

  Its metrics are loss, masked_accuracy (over masked frames) and codes_in_use
  (share of the codebook among the targets).

  Args:
    encoder: `conformer.ConformerConfig` or its dict.
    features: dict of arguments of `features.LogMel`, or None. Without
      normalisation most frames share a code.
    codebook_size: int, number of codes.
    codebook_dim: int, width of a code vector.
    mask_probability: float, of a feature frame to begin a span.
    mask_ms: float, length of a span.
    noise_stddev: float, of the noise that replaces masked features.
    seed: int, of masks, noise, projection and codes.

  Raises:
    ValueError: If a size or the probability is out of range.

  Example:
    >>> model = BestRQ(encoder=conformer.SIZES["tiny"])
    >>> model.build_from_signature()
    >>> length = tf.constant([16000])
    >>> x = {"audio": tf.zeros([1, 16000]), "audio_length": length}
    >>> model(x)["logits"].shape
    TensorShape([1, 25, 8192])

  References:
    arXiv 2202.01855: sections 3 and 4.1.1 (mask probability 0.01, noise N(0,
    0.1), 8192 codes of width 16, spans of 400 ms).
  """

  # Behind those of the encoder, which uses 16 a block.
  _MASKS, _QUANTIZER = 2048, 2049

  def __init__(
    self,
    *,
    encoder: conformer.ConformerConfig | Mapping[str, Any],
    features: dict | None = None,
    codebook_size: int = 8192,
    codebook_dim: int = 16,
    mask_probability: float = 0.01,
    mask_ms: float = 400.0,
    noise_stddev: float = 0.1,
    seed: int = 0,
    **kwargs: Any,
  ):
    super().__init__(features=features, seed=seed, **kwargs)
    if dataclasses.is_dataclass(encoder):
      encoder = dataclasses.asdict(encoder)
    for name, value, low, high in (
      ("codebook_size", codebook_size, 2, None),
      ("codebook_dim", codebook_dim, 1, None),
      ("mask_probability", mask_probability, 0, 1),
      ("noise_stddev", noise_stddev, 0, None),
    ):
      if not low <= value or (high is not None and value > high):
        raise ValueError(
          f"{name} must be at least {low}"
          f"{'' if high is None else f' and at most {high}'}. "
          f"Received: {name}={value}"
        )
    self.config |= {
      "encoder": dict(encoder),
      "codebook_size": int(codebook_size),
      "codebook_dim": int(codebook_dim),
      "mask_probability": float(mask_probability),
      "mask_ms": float(mask_ms),
      "noise_stddev": float(noise_stddev),
    }
    self.encoder = conformer.ConformerEncoder(
      self.config["encoder"], seed=self.layer_seed(2), dtype=self.dtype_policy
    )
    self.factor = self.encoder.config.subsampling_factor
    frame_ms = self.log_mel.hop_ms * self.factor
    self.span = round(mask_ms / frame_ms)
    if self.span < 1:
      raise ValueError(
        f"mask_ms must be at least half a frame of {frame_ms} ms. "
        f"Received: mask_ms={mask_ms}"
      )
    self.quantizer = quantizer.RandomProjectionQuantizer(
      codebook_size, codebook_dim, self.layer_seed(self._QUANTIZER)
    )
    self.head = keras.layers.Dense(codebook_size, dtype="float32")
    self.generator = keras.random.SeedGenerator(self.layer_seed(self._MASKS))
    self.accuracy = keras.metrics.Mean(name="masked_accuracy")
    self.codes_in_use = quantizer.CodesInUse(codebook_size)

  def build_outputs(self, dim: int) -> None:
    """Builds the output layers.

    Args:
      dim: the encoder's width.
    """
    self.quantizer.build((None, None, self.factor * self.log_mel.mels))
    self.head.build((None, None, dim))

  def call(
    self, x: signatures.Inputs, training: bool = False
  ) -> signatures.Outputs:
    features, length = self.extract_features(x, training=training)
    stacked = quantizer.stack_frames(features, self.factor)
    time = tf.shape(stacked)[1]
    frames = -(-length // self.factor)
    if training:
      masked = random_spans(
        frames,
        time,
        self.span,
        1 - (1 - self.config["mask_probability"]) ** self.factor,
        seeds.next_seed(self.generator),
      )
      filling = self.config["noise_stddev"] * tf.random.stateless_normal(
        tf.shape(features), seeds.next_seed(self.generator)
      )
    else:
      masked = tf.range(time) // self.span % 3 == 1
      masked &= tf.sequence_mask(frames, time)
      filling = 0.0
    hidden = tf.repeat(masked, self.factor, axis=1)[:, : tf.shape(features)[1]]
    visible = tf.where(hidden[:, :, None], filling, features)
    encoded, length = self.encoder(visible, length, training=training)
    return {
      "logits": self.head(encoded),
      "length": length,
      "codes": self.quantizer(stacked),
      "masked": masked,
    }

  def compute_loss(
    self,
    x: signatures.Inputs | None,
    y: signatures.Inputs | None,
    y_pred: signatures.Outputs,
    sample_weight: tf.Tensor | None = None,
    training: bool = True,
  ) -> tf.Tensor:
    """Mean of `example_losses` over this core's own examples.

    Args:
      x: ignored.
      y: ignored.
      y_pred: what `call` returned.
      sample_weight: float [B] or None; all zero gives 0.
      training: ignored.

    Returns:
      float32 scalar, nats per masked frame.
    """
    correct = self.correct(y_pred)
    self.accuracy.update_state(correct, tf.cast(y_pred["masked"], tf.float32))
    self.codes_in_use.update_state(y_pred["codes"], y_pred["masked"])
    return super().compute_loss(x, y, y_pred, sample_weight, training)

  def correct(self, outputs: signatures.Outputs) -> tf.Tensor:
    """float32 [B, T], 1 where the most probable code is the right one.

    Args:
      outputs: what `call` returned.

    Returns:
      float32 [B, T].
    """
    best = tf.argmax(outputs["logits"], axis=-1, output_type=tf.int32)
    return tf.cast(best == outputs["codes"], tf.float32)

  def predictions(
    self, outputs: signatures.Outputs
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """What scores are made of: masked, codes, `correct`, `frame_losses`.

    Args:
      outputs: what `call` returned.

    Returns:
      Four tensors [B, T].
    """
    return (
      outputs["masked"],
      outputs["codes"],
      self.correct(outputs),
      self.frame_losses(outputs),
    )

  def frame_losses(self, outputs: signatures.Outputs) -> tf.Tensor:
    """float32 [B, T], -log P(code) of every frame, in nats.

    Args:
      outputs: what `call` returned.

    Returns:
      float32 [B, T], nats.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
      outputs["codes"], outputs["logits"]
    )

  def example_losses(
    self, y: signatures.Inputs | None, outputs: signatures.Outputs
  ) -> tf.Tensor:
    """float32 [B], mean over masked frames of -log P(code), 0 without any.

    Args:
      y: ignored.
      outputs: what `call` returned.

    Returns:
      float32 [B], nats.
    """
    del y
    losses = self.frame_losses(outputs)
    masked = outputs["masked"]
    losses = tf.reduce_sum(tf.where(masked, losses, 0.0), axis=1)
    count = tf.reduce_sum(tf.cast(masked, tf.float32), axis=1)
    return losses / tf.maximum(count, 1.0)

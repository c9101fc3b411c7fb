"""A Conformer recogniser trained with connectionist temporal classification."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from models import conformer, decoding
from models import features as _features
from models import specaugment as _specaugment
from tf_pcc.training import PerCoreModel


def ctc_losses(labels, label_length, logits, length):
  """CTC loss of every utterance, the blank being 0.

  Args:
    labels: int32 [B, U], padded.
    label_length: int32 [B].
    logits: float [B, T, V]; the loss is computed in float32.
    length: int32 [B], valid frames.

  Returns:
    float32 [B], -log P(labels | audio) in nats. An utterance whose labels do
    not fit its frames gets a large finite number: filter those by `frames`.
  """
  return tf.nn.ctc_loss(
    labels=labels,
    logits=tf.cast(logits, tf.float32),
    label_length=label_length,
    logit_length=length,
    logits_time_major=False,
    blank_index=0,
  )


def weighted_mean(values, weights=None):
  """Mean of float32 [B] values; with weights, 0 when all of them are 0.

  Values of weight 0 are left out by selection: a NaN among them stays out.
  """
  if weights is None:
    return tf.reduce_mean(values)
  weights = tf.cast(tf.reshape(weights, [-1]), values.dtype)
  total = tf.reduce_sum(
    tf.where(weights > 0, values * weights, tf.zeros_like(values))
  )
  return tf.math.divide_no_nan(total, tf.reduce_sum(weights))


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class BlankPrior(keras.initializers.Initializer):
  """Bias of a CTC output layer that starts by saying blank.

  From uniform outputs CTC's first gradients are tens of times larger than all
  later ones: nearly every frame must learn to be blank. They fill Adam's second
  moments, and the labels are learnt hundreds of steps later.

  Args:
    probability: float in (0, 1), what the blank, class 0, starts with; the
      other classes share the rest.
  """

  def __init__(self, probability):
    if not 0 < probability < 1:
      raise ValueError(
        "blank_prior must be between 0 and 1. "
        f"Received: blank_prior={probability}"
      )
    self.probability = float(probability)

  def __call__(self, shape, dtype=None):
    odds = self.probability / (1.0 - self.probability)
    bias = np.zeros(shape)
    bias[0] = np.log(odds * (shape[0] - 1))
    return keras.ops.convert_to_tensor(bias, dtype=dtype)

  def get_config(self):
    return {"probability": self.probability}


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConformerCTC(PerCoreModel):
  """Log-mel features, SpecAugment, Conformer encoder, CTC output layer.

  Takes x = {"audio": float32 [B, S] in [-1, 1], "audio_length": int32 [B]
  samples} and y = {"labels": int32 [B, U], "label_length": int32 [B]}; gives
  {"logits": float32 [B, T, V], "length": int32 [B]}. Token 0 is the blank.

  Args:
    vocab_size: int, number of classes, the blank included.
    encoder: `conformer.ConformerConfig` or its dict.
    features: dict of arguments of `features.LogMel`, or None.
    specaugment: dict of arguments of `specaugment.SpecAugment`, or None.
    blank_prior: float, probability of the blank before training, see
      `BlankPrior`.
    seed: int, for the noise of training; weights are drawn from Keras's global
      seed (`keras.utils.set_random_seed`).

  Example:
    >>> model = ConformerCTC(vocab_size=30, encoder=conformer.SIZES["tiny"])
    >>> model.build_from_signature()
    >>> length = tf.constant([16000])
    >>> x = {"audio": tf.zeros([1, 16000]), "audio_length": length}
    >>> model(x)["logits"].shape
    TensorShape([1, 25, 30])
  """

  # Spreads the seeds of a model's layers, so that seeds 0 and 1 share none.
  _SEED_STRIDE = 4096

  def __init__(
    self,
    *,
    vocab_size: int,
    encoder,
    features: dict | None = None,
    specaugment: dict | None = None,
    blank_prior: float = 0.9,
    seed: int = 0,
    **kwargs,
  ):
    super().__init__(**kwargs)
    if vocab_size < 2:
      raise ValueError(
        "vocab_size must be at least 2, the blank and one token. "
        f"Received: vocab_size={vocab_size}"
      )
    # A bfloat16 policy would round the waveform before the features.
    self.autocast = False
    if isinstance(encoder, conformer.ConformerConfig):
      encoder = dataclasses.asdict(encoder)
    self.config = {
      "vocab_size": int(vocab_size),
      "encoder": dict(encoder),
      "features": dict(features or {}),
      "specaugment": dict(specaugment or {}),
      "blank_prior": float(blank_prior),
      "seed": int(seed),
    }
    seed = int(seed) * self._SEED_STRIDE
    self.log_mel = _features.LogMel(**{"seed": seed, **self.config["features"]})
    self.specaugment = _specaugment.SpecAugment(
      **{"seed": seed + 1, **self.config["specaugment"]}
    )
    self.encoder = conformer.ConformerEncoder(
      self.config["encoder"], seed=seed + 2, dtype=self.dtype_policy
    )
    # float32, since CTC needs precise logits.
    self.head = keras.layers.Dense(
      vocab_size, bias_initializer=BlankPrior(blank_prior), dtype="float32"
    )

  def build(self, input_shape=None):
    """Makes all weights; the shapes do not depend on the input's."""
    if self.built:
      return
    self.log_mel.build((None, None))
    self.specaugment.build((None, None, self.log_mel.mels))
    self.encoder.build((None, None, self.log_mel.mels))
    self.head.build((None, None, self.encoder.config.dim))
    self.built = True

  def build_from_signature(self) -> None:
    """Makes all weights without data; call it inside `strategy.scope()`."""
    self.build()

  def adapt(self, inputs) -> None:
    """Fills the statistics of features with normalization="global", if so.

    Call it before training, on part of the training set.

    Args:
      inputs: iterable of dicts like `call` takes.
    """
    if self.log_mel.normalization == "global":
      self.log_mel.adapt((x["audio"], x["audio_length"]) for x in inputs)

  def call(self, x, training=False):
    features, length = self.log_mel(
      x["audio"], x["audio_length"], training=training
    )
    features = self.specaugment(features, length, training=training)
    encoded, length = self.encoder(features, length, training=training)
    return {"logits": self.head(encoded), "length": length}

  def compute_loss(
    self, x=None, y=None, y_pred=None, sample_weight=None, training=True
  ):
    """Mean CTC loss over this core's own examples.

    Args:
      x: ignored.
      y: dict of labels and their lengths.
      y_pred: what `call` returned.
      sample_weight: float [B] or None; all zero gives 0.
      training: ignored.

    Returns:
      float32 scalar, nats per utterance.
    """
    return weighted_mean(self.example_losses(y, y_pred), sample_weight)

  def example_losses(self, y, y_pred):
    """float32 [B], every utterance's loss in nats; see `ctc_losses`."""
    return ctc_losses(
      y["labels"], y["label_length"], y_pred["logits"], y_pred["length"]
    )

  def decode(self, y_pred):
    """Greedy token ids int32 [B, T] and their number int32 [B]."""
    return decoding.greedy(y_pred["logits"], y_pred["length"])

  def frames(self, samples):
    """Output frames for `samples` samples (an int or an integer array).

    Labels fit where frames >= labels + repeated neighbours.
    """
    return self.encoder.frames(self.log_mel.frames(samples))

  def get_config(self):
    return {**super().get_config(), **self.config}

  def get_build_config(self):
    # Keras rebuilds a loaded model only if there is something to rebuild from.
    return {"from_signature": True}

  def build_from_config(self, config):
    self.build_from_signature()

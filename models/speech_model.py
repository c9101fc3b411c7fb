"""What all speech models share: features, losses as means, saving."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from models import signatures
from models.layers import audible
from models.layers import features as _features
from tf_pcc.training import PerCoreModel


def weighted_mean(
  values: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
  """Mean of float32 [B] values; with weights, 0 when all of them are 0.

  Values of weight 0 are left out by selection: a NaN among them stays out.

  Args:
    values: float32 [B].
    weights: float [B], or None for equal ones.

  Returns:
    float32 scalar.
  """
  if weights is None:
    return tf.reduce_mean(values)
  weights = tf.cast(tf.reshape(weights, [-1]), values.dtype)
  total = tf.reduce_sum(
    tf.where(weights > 0, values * weights, tf.zeros_like(values))
  )
  return tf.math.divide_no_nan(total, tf.reduce_sum(weights))


def finite_length(values: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
  """Lengths, but 0 for utterances with a NaN or infinity in a valid frame.

  What a decoder takes: an utterance without usable sound has no words.

  Args:
    values: float [B, T, D].
    length: int32 [B], valid frames.

  Returns:
    int32 [B].
  """
  finite = tf.reduce_all(tf.math.is_finite(values), axis=-1)
  finite |= ~tf.sequence_mask(length, tf.shape(values)[1])
  return tf.where(tf.reduce_all(finite, axis=1), length, 0)


class Encoder(Protocol):
  """What a model asks of its encoder, a `keras.layers.Layer`.

  Attributes:
    dim: width of its output.
  """

  dim: int

  def build(self, features_shape: signatures.Shape) -> None:
    """Makes its weights, for features [B, T, mels].

    Args:
      features_shape: [B, T, mels].
    """
    ...

  def __call__(
    self, features: tf.Tensor, lengths: tf.Tensor, training: bool = False
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Features and valid frames to float [B, T', dim] and valid frames."""
    ...

  def frames(self, frames: signatures.Counts) -> signatures.Counts:
    """Output frames for `frames` feature frames.

    Args:
      frames: a number of feature frames, or an array of such numbers.

    Returns:
      As many output frames for each, of the same kind.
    """
    ...


class SpeechModel(PerCoreModel):
  """Log-mel features and an encoder: what pre-training shares too.

  Takes x = {"audio": float32 [B, S] in [-1, 1], "audio_length": int32 [B]
  samples}.

  A family sets `self.encoder`, an `Encoder`, in its constructor, after calling
  this one. It puts its further arguments into `self.config`, and writes:

  - `build_outputs(dim)`: builds what is neither features nor encoder;
  - `call(x, training)`: dict of outputs, among them "length", int32 [B];
  - `example_losses(y, outputs)`: float32 [B], nats an utterance.

  Args:
    features: dict of arguments of `features.LogMel`, or None.
    seed: int, for the noise of training; weights are drawn from Keras's global
      seed (`keras.utils.set_random_seed`).
  """

  encoder: Encoder

  # Whether `frame_log_probs(outputs)` gives CTC's log-probabilities.
  has_ctc = False
  # Whether `initial_state` and the methods of `streaming.Stream` transcribe
  # chunk by chunk.
  streams = False

  # Spreads the seeds of a model's layers, so that seeds 0 and 1 share none.
  _SEED_STRIDE = 4096

  def __init__(
    self, *, features: dict | None = None, seed: int = 0, **kwargs: Any
  ):
    super().__init__(**kwargs)
    # A bfloat16 policy would round the waveform before the features.
    self.autocast = False
    self.config = {"features": dict(features or {}), "seed": int(seed)}
    self.log_mel = _features.LogMel(
      **{"seed": self.layer_seed(0), **self.config["features"]}
    )

  @property
  def chunk_samples(self) -> int | None:
    """Samples of a chunk; None for a model that does not stream."""
    return None

  def layer_seed(self, index: int) -> int:
    """A seed for a layer: 0 and 1 are taken, encoders get 2 and onwards.

    Args:
      index: the layer's number in this model.

    Returns:
      A seed that no other layer of models with other seeds has.
    """
    return self.config["seed"] * self._SEED_STRIDE + index

  def build(self, input_shape: signatures.Shape | None = None) -> None:
    """Makes all weights; the shapes do not depend on the input's.

    Args:
      input_shape: ignored.
    """
    if self.built:
      return
    self.log_mel.build((None, None))
    self.encoder.build((None, None, self.log_mel.mels))
    self.build_outputs(self.encoder.dim)
    self.built = True

  def build_outputs(self, dim: int) -> None:
    """Builds the other layers; the encoder's width is `dim`.

    Args:
      dim: the encoder's width.
    """
    raise NotImplementedError("a SpeechModel must write build_outputs")

  def build_from_signature(self) -> None:
    """Makes all weights without data; call it inside `strategy.scope()`."""
    self.build()

  def adapt(self, inputs: Iterable[signatures.Inputs]) -> None:
    """Fills the statistics of features with normalization="global", if so.

    Call it before training, on part of the training set.

    Args:
      inputs: iterable of dicts like `call` takes.
    """
    if self.log_mel.normalization == "global":
      self.log_mel.adapt((x["audio"], x["audio_length"]) for x in inputs)

  def extract_features(
    self, x: signatures.Inputs, training: bool = False
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Audio to features and their number.

    A length beyond the audio's end is that end, one below 0 is 0. One sample
    that is not `audible` makes all features of its utterance NaN.

    Args:
      x: what `call` takes.
      training: whether noise, such as dropout, is added.

    Returns:
      float32 [B, T, mels] and int32 [B].
    """
    length = tf.clip_by_value(
      tf.cast(x["audio_length"], tf.int32), 0, tf.shape(x["audio"])[1]
    )
    usable = audible.audible(x["audio"], length)[:, None]
    audio = tf.where(usable, x["audio"], float("nan"))
    return self.log_mel(audio, length, training=training)

  def compute_loss(
    self,
    x: signatures.Inputs | None,
    y: signatures.Inputs | None,
    y_pred: signatures.Outputs,
    sample_weight: tf.Tensor | None = None,
    training: bool = True,
  ) -> tf.Tensor:
    """Mean of `training_losses` over this core's own examples.

    Args:
      x: ignored.
      y: what `example_losses` takes.
      y_pred: what `call` returned.
      sample_weight: float [B] or None; all zero gives 0.
      training: whether of `training_losses` or of `example_losses`.

    Returns:
      float32 scalar, nats per utterance.
    """
    losses = self.training_losses if training else self.example_losses
    return weighted_mean(losses(y, y_pred), sample_weight)

  def example_losses(
    self, y: signatures.Inputs | None, outputs: signatures.Outputs
  ) -> tf.Tensor:
    """float32 [B], every utterance's loss in nats.

    Args:
      y: {"labels": int32 [B, U], "label_length": int32 [B]}.
      outputs: what `call` returned.

    Returns:
      float32 [B], nats.
    """
    raise NotImplementedError("a SpeechModel must write example_losses")

  def training_losses(
    self, y: signatures.Inputs | None, outputs: signatures.Outputs
  ) -> tf.Tensor:
    """float32 [B], what training minimises: by default `example_losses`.

    Args:
      y: what `example_losses` takes.
      outputs: what `call` returned.

    Returns:
      float32 [B].
    """
    return self.example_losses(y, outputs)

  def frames(self, samples: signatures.Counts) -> signatures.Counts:
    """Output frames for `samples` samples (an int or an integer array).

    Args:
      samples: a number of samples, or an array of such numbers.

    Returns:
      As many output frames for each, of the same kind.
    """
    return self.encoder.frames(self.log_mel.frames(samples))

  @property
  def frame_seconds(self) -> float:
    """Seconds between two output frames."""
    # An hour has a whole number of frames.
    hour = 3600 * self.log_mel.sample_rate
    return 3600 / float(self.frames(2 * hour) - self.frames(hour))

  def fits(self, labels: Sequence[int] | np.ndarray, samples: int) -> bool:
    """Whether an utterance can be learnt, as `fits_lengths` says.

    Args:
      labels: ints [U].
      samples: int, of the utterance.

    Returns:
      True if it can.
    """
    labels = np.asarray(labels)
    repeats = np.count_nonzero(labels[1:] == labels[:-1])
    fits = self.fits_lengths(*np.array([[len(labels)], [repeats], [samples]]))
    return bool(fits[0])

  def fits_lengths(
    self,
    labels: np.ndarray,
    repeats: np.ndarray,
    samples: np.ndarray,
  ) -> np.ndarray:
    """Which utterances can be learnt: here, those that have a frame.

    Args:
      labels: ints [N], how many labels each has.
      repeats: ints [N], how many of them equal the one before.
      samples: ints [N].

    Returns:
      bool [N].
    """
    return np.greater(self.frames(samples), 0)

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), **self.config}

  def get_build_config(self) -> dict[str, Any]:
    # Keras rebuilds a loaded model only if there is something to rebuild from.
    return {"from_signature": True}

  def build_from_config(self, config: Mapping[str, Any]) -> None:
    self.build_from_signature()

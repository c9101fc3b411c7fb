"""Log-mel features as a layer, so that they are the same for all its users."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models import signatures
from models.layers import seeds

_VARIANCE_FLOOR = 1e-5


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class LogMel(keras.layers.Layer):
  """Turns waveforms into normalised log-mel energies.

  A frame is made of samples inside the utterance only (no centring, no partial
  last window), so what pads the waveform never changes a valid frame. Frames
  behind an utterance's end are zero. The layer computes in float32 whatever the
  dtype policy says.

  Args:
    mels: int, number of mel bands.
    sample_rate: int, in Hz.
    window_ms: float, length of the Hann window.
    hop_ms: float, distance between frames.
    low_hz: float, lower edge of the first mel band.
    high_hz: float, upper edge of the last; None is half the sample rate.
    log_floor: float, added to the mel energies before the logarithm; samples
      are in [-1, 1] and the spectrum is not scaled by the window's length.
    normalization: "utterance" (mean 0 and variance 1 of every band over the
      utterance's own frames), "global" (by stored statistics, which `adapt`
      fills and the model's file keeps) or "none".
    dither: float, standard deviation of noise added to the samples in training.
    causal: bool; True puts window - hop zeros before the waveform, so that
      every hop of samples completes one frame, as a stream needs (see `step`).
    seed: int, for the dither.

  Raises:
    ValueError: If `normalization` is unknown, or causal frames would leave
      samples out.

  Example:
    >>> lengths = tf.constant([16000, 8000])
    >>> features, frames = LogMel()(tf.zeros([2, 16000]), lengths)
    >>> features.shape, frames.numpy()
    (TensorShape([2, 98, 80]), array([98, 48], dtype=int32))
  """

  NORMALIZATIONS = ("utterance", "global", "none")

  def __init__(
    self,
    mels: int = 80,
    sample_rate: int = 16000,
    window_ms: float = 25.0,
    hop_ms: float = 10.0,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    log_floor: float = 1e-6,
    normalization: str = "utterance",
    dither: float = 0.0,
    causal: bool = False,
    seed: int = 0,
    **kwargs: Any,
  ):
    kwargs["dtype"] = "float32"
    super().__init__(**kwargs)
    if normalization not in self.NORMALIZATIONS:
      raise ValueError(
        f"LogMel's normalization must be one of {self.NORMALIZATIONS}. "
        f"Received: normalization={normalization!r}"
      )
    self.mels = int(mels)
    self.sample_rate = int(sample_rate)
    self.window_ms = float(window_ms)
    self.hop_ms = float(hop_ms)
    self.low_hz = float(low_hz)
    self.high_hz = float(self.sample_rate / 2 if high_hz is None else high_hz)
    self.log_floor = float(log_floor)
    self.normalization = normalization
    self.dither = float(dither)
    self.causal = bool(causal)
    self.seed = int(seed)
    self.window = round(self.sample_rate * self.window_ms / 1000)
    self.hop = round(self.sample_rate * self.hop_ms / 1000)
    if self.causal and self.window < self.hop:
      raise ValueError(
        "LogMel's window_ms must be at least hop_ms where causal=True. "
        f"Received: window_ms={window_ms}, hop_ms={hop_ms}"
      )
    # Samples of silence before the waveform.
    self.margin = self.window - self.hop if self.causal else 0
    self.fft_length = 1 << (self.window - 1).bit_length()
    # Made here once: as ops it would be traced again on every core.
    with tf.init_scope():
      self.to_mel = tf.signal.linear_to_mel_weight_matrix(
        self.mels,
        self.fft_length // 2 + 1,
        self.sample_rate,
        self.low_hz,
        self.high_hz,
      ).numpy()
    if self.dither:
      self.generator = keras.random.SeedGenerator(self.seed)

  def build(
    self,
    audio_shape: signatures.Shape,
    lengths_shape: signatures.Shape | None = None,
  ) -> None:
    if self.normalization == "global":
      self.mean = self.add_weight(
        name="mean", shape=[self.mels], initializer="zeros", trainable=False
      )
      self.variance = self.add_weight(
        name="variance", shape=[self.mels], initializer="ones", trainable=False
      )
    self.built = True

  def call(
    self, audio: tf.Tensor, lengths: tf.Tensor, training: bool = False
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the features.

    Args:
      audio: float32 [B, S], samples in [-1, 1].
      lengths: int32 [B], valid samples.
      training: bool, adds the dither.

    Returns:
      float32 [B, T, mels] and int32 [B], the valid frames; T is what S samples
      give, and at least 1.
    """
    if training and self.dither:
      audio += self.dither * tf.random.stateless_normal(
        tf.shape(audio), seeds.next_seed(self.generator)
      )
    lengths = tf.cast(lengths, tf.int32) + self.margin
    frames = tf.maximum(lengths - self.window + self.hop, 0) // self.hop
    audio = tf.pad(audio, [[0, 0], [self.margin, 0]])
    return self._normalize(self._log_energies(audio), frames), frames

  def initial_state(self, batch: signatures.Size) -> tf.Tensor:
    """The samples before a stream's first, float32 [batch, window - hop].

    Args:
      batch: number of streams, or of hypotheses, B.

    Returns:
      float32 [batch, window - hop].
    """
    return tf.zeros([batch, self.margin])

  def step(
    self, audio: tf.Tensor, lengths: tf.Tensor, past: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes the features of the next part of a stream.

    Parts one after another give the frames that `call` gives of the whole.

    Args:
      audio: float32 [B, n * hop].
      lengths: int32 [B], valid samples; less than all only at the end.
      past: what `initial_state` or the last step returned.

    Returns:
      float32 [B, n, mels], int32 [B], the valid frames, and the next `past`.

    Raises:
      ValueError: If the frames are not causal, or normalised over utterances.
    """
    if not self.causal or self.normalization == "utterance":
      raise ValueError(
        "LogMel.step needs causal=True and normalization='global' or 'none'. "
        f"Received: causal={self.causal}, normalization={self.normalization!r}"
      )
    audio = tf.concat([past, audio], axis=1)
    frames = tf.cast(lengths, tf.int32) // self.hop
    features = self._normalize(self._log_energies(audio), frames)
    return features, frames, audio[:, tf.shape(audio)[1] - self.margin :]

  def _normalize(self, features, frames):
    """Normalises the valid frames and zeroes the others."""
    mask = tf.sequence_mask(frames, tf.shape(features)[1])[:, :, None]
    # A select, because a product would let NaN in the padding through.
    features = tf.where(mask, features, 0.0)
    if self.normalization == "utterance":
      count = tf.cast(tf.maximum(frames, 1), tf.float32)[:, None, None]
      mean = tf.reduce_sum(features, axis=1, keepdims=True) / count
      centred = tf.where(mask, features - mean, 0.0)
      variance = tf.reduce_sum(centred**2, axis=1, keepdims=True) / count
      features = centred * tf.math.rsqrt(variance + _VARIANCE_FLOOR)
    elif self.normalization == "global":
      features -= self.mean
      features *= tf.math.rsqrt(self.variance + _VARIANCE_FLOOR)
      features = tf.where(mask, features, 0.0)
    return features

  def adapt(
    self,
    batches: Iterable[
      tuple[tf.types.experimental.TensorLike, tf.types.experimental.TensorLike]
    ],
  ) -> None:
    """Fills the statistics of `normalization="global"` from speech.

    Call it before training, on part of the training set.

    Args:
      batches: iterable of (audio float32 [B, S], lengths int32 [B]).

    Raises:
      ValueError: If the normalisation is another one, or there is no frame.
    """
    if self.normalization != "global":
      raise ValueError(
        "LogMel.adapt needs normalization='global'. "
        f"Received: normalization={self.normalization!r}"
      )
    if not self.built:
      self.build((None, None))
    count, total, squares = 0, np.zeros(self.mels), np.zeros(self.mels)
    for audio, lengths in batches:
      audio = tf.pad(
        tf.convert_to_tensor(audio, tf.float32), [[0, 0], [self.margin, 0]]
      )
      features = self._log_energies(audio)
      valid = np.arange(features.shape[1]) < np.reshape(
        self.frames(lengths), [-1, 1]
      )
      rows = features.numpy()[valid].astype(np.float64)
      count += len(rows)
      total += rows.sum(0)
      squares += (rows**2).sum(0)
    if not count:
      raise ValueError(
        "LogMel.adapt needs utterances of at least one window "
        f"({self.window} samples). Received: frames={count}"
      )
    mean = total / count
    self.mean.assign(mean)
    self.variance.assign(np.maximum(squares / count - mean**2, 0))

  def frames(
    self, samples: tf.types.experimental.TensorLike
  ) -> np.integer | np.ndarray:
    """Valid frames for `samples` samples (an int or an integer array).

    Args:
      samples: a number of samples, or an array of such numbers.

    Returns:
      As many frames for each, of the same kind.
    """
    samples = np.asarray(samples) + self.margin
    return np.maximum(samples - self.window + self.hop, 0) // self.hop

  def _log_energies(self, audio):
    shortage = tf.maximum(self.window - tf.shape(audio)[1], 0)
    if audio.shape[1] is not None:
      shortage = max(self.window - audio.shape[1], 0)
    # The stubs want numbers only.
    audio = tf.pad(audio, [[0, 0], [0, shortage]])  # pyright: ignore[reportArgumentType]
    spectrum = tf.signal.stft(
      audio, self.window, self.hop, fft_length=self.fft_length
    )
    # Products of complex numbers are not among LiteRT's operations.
    power = tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2
    return tf.math.log(tf.matmul(power, self.to_mel) + self.log_floor)

  def get_config(self) -> dict[str, Any]:
    config = super().get_config()
    for field in (
      "mels",
      "sample_rate",
      "window_ms",
      "hop_ms",
      "low_hz",
      "high_hz",
      "log_floor",
      "normalization",
      "dither",
      "causal",
      "seed",
    ):
      config[field] = getattr(self, field)
    return config

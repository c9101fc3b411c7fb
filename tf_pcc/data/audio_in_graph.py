"""Audio decoded and resampled by graph ops, for tf.data.

16-bit PCM and WAV need core TensorFlow only. The other formats, and resampling,
need tensorflow-io, whose native library loads with TensorFlow 2.16 and 2.17.
"""

import functools
import os
import warnings
from typing import TYPE_CHECKING, Any

from tf_pcc.data.resampling import SAMPLE_RATE

if TYPE_CHECKING:
  import tensorflow as tf

FORMATS = ("flac", "mp3", "ogg", "wav")


@functools.lru_cache(maxsize=1)
def tensorflow_io() -> Any:
  """The tensorflow-io module if its native library works here, else None."""
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
  import tensorflow as tf

  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      import tensorflow_io as tfio

      tone = tf.zeros([8, 1], tf.int16)
      tfio.audio.encode_flac(tone, rate=SAMPLE_RATE)
  except (ImportError, NotImplementedError, AttributeError):
    return None
  return tfio


def decode_in_graph(
  data: "tf.Tensor", kind: str, sample_rate: int = SAMPLE_RATE
) -> "tf.Tensor":
  """Decodes and resamples audio bytes with graph ops, for tf.data.

  WAV (16-bit) and raw PCM need core TensorFlow only, if no resampling is
  needed; the others, and resampling, need tensorflow-io.

  Args:
    data: Scalar string tensor, the file's bytes; for "pcm16" 16-bit
      little-endian mono samples at `sample_rate`.
    kind: "flac", "mp3", "ogg" (Vorbis), "wav" or "pcm16"; a Python string.
    sample_rate: Wanted rate in Hz. Default 16000.

  Returns:
    float32 tensor `[samples]` in [-1, 1], the mean of the channels.

  Raises:
    ValueError: If `kind` is unknown or needs a tensorflow-io that is missing.

  Example:

  >>> import tensorflow as tf
  >>> data = tf.audio.encode_wav(tf.zeros([800, 1]), 16000)
  >>> decode_in_graph(data, "wav").shape
  TensorShape([800])
  """
  import tensorflow as tf

  if kind == "pcm16":
    samples = tf.io.decode_raw(data, tf.int16, little_endian=True)
    return tf.cast(samples, tf.float32) / 32768
  if kind not in FORMATS:
    raise ValueError(
      f"`kind` must be pcm16 or one of {FORMATS}. Received: kind={kind!r}"
    )
  if kind == "wav":
    waveform, rate = tf.audio.decode_wav(data)
  else:
    if tensorflow_io() is None:
      raise ValueError(
        "Decoding inside tf.data needs tensorflow-io's native library: "
        f"pip install tensorflow-io==0.37.1 beside TensorFlow 2.17, or prepare "
        f"pcm16 records. Received: kind={kind!r}"
      )
    waveform, rate = decode_compressed(data, kind)
  waveform = tf.reduce_mean(waveform, axis=1)
  if tensorflow_io() is None:
    with tf.control_dependencies(
      [tf.debugging.assert_equal(rate, sample_rate)]
    ):
      return tf.identity(waveform)
  waveform = tf.cond(
    tf.equal(rate, sample_rate),
    lambda: waveform,
    lambda: _resample_in_graph(waveform, rate, sample_rate),
  )
  return tf.clip_by_value(waveform, -1.0, 1.0)


def _resample_in_graph(waveform, rate, sample_rate):
  """tensorflow-io's resampler with its delay taken out.

  The delay is 32 samples at the lower of both rates (measured with impulses).
  """
  import tensorflow as tf

  ratio = sample_rate / tf.cast(rate, tf.float64)
  delay = tf.round(32 * tf.maximum(ratio, 1.0))
  samples = tf.math.ceil(tf.cast(tf.size(waveform), tf.float64) * ratio)
  tail = tf.cast(tf.math.ceil(delay / ratio), tf.int32) + 1
  padded = tf.pad(waveform, [[0, tail]])[:, None]
  result = tensorflow_io().audio.resample(
    padded, tf.cast(rate, tf.int64), sample_rate
  )[:, 0]
  delay, samples = tf.cast(delay, tf.int32), tf.cast(samples, tf.int32)
  return result[delay : delay + samples]


def decode_compressed(
  data: "tf.Tensor", kind: str
) -> "tuple[tf.Tensor, tf.Tensor]":
  """Decodes FLAC, MP3 or Vorbis by tensorflow-io, which must be there.

  Args:
    data: Scalar string tensor, the file's bytes.
    kind: "flac", "mp3" or "ogg".

  Returns:
    (float32 `[samples, channels]` in [-1, 1]; rate in Hz, int32 scalar).
  """
  import tensorflow as tf

  audio = tensorflow_io().audio

  def head(start, length):
    part = tf.io.decode_raw(tf.strings.substr(data, start, length), tf.uint8)
    return tf.cast(part, tf.int32)

  if kind == "ogg":  # the rate of Vorbis' identification header, little endian
    rate = tf.reduce_sum(head(40, 4) * [1, 1 << 8, 1 << 16, 1 << 24])
    return audio.decode_vorbis(data), rate
  if kind == "mp3":
    # An ID3v2 tag, if any, goes first; its size counts 7 bits in each byte.
    tagged = tf.equal(tf.strings.substr(data, 0, 3), "ID3")
    size = tf.reduce_sum(head(6, 4) * [1 << 21, 1 << 14, 1 << 7, 1])
    frame = head(tf.where(tagged, size + 10, 0), 4)
    table = tf.constant([11025, 12000, 8000])
    version = (frame[1] // 8) % 4  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    factor = tf.gather(tf.constant([1, 1, 2, 4]), version)
    rate = tf.gather(table, tf.minimum((frame[2] // 4) % 4, 2)) * factor
    return audio.decode_mp3(data), rate
  # STREAMINFO (RFC 9639, section 8.2): 20 bits of rate from byte 18 on, 3 bits
  # of channels, 5 bits of (bits per sample - 1). The op wants the dtype to fit
  # those bits and fills all of it.
  tf.debugging.assert_greater(tf.strings.length(data), 42, "no FLAC header")
  info = head(18, 4)
  rate = info[0] * 4096 + info[1] * 16 + info[2] // 16
  bits = (info[2] % 2) * 16 + info[3] // 16 + 1

  def eight():
    samples = audio.decode_flac(data, dtype=tf.uint8)
    return (tf.cast(samples, tf.float32) - 128) / 128

  def sixteen():
    samples = audio.decode_flac(data, dtype=tf.int16)
    return tf.cast(samples, tf.float32) / 2**15

  def more():
    samples = audio.decode_flac(data, dtype=tf.int32)
    return tf.cast(samples, tf.float32) / 2**31

  chosen = tf.cast(bits > 8, tf.int32) + tf.cast(bits > 16, tf.int32)
  return tf.switch_case(chosen, [eight, sixteen, more]), rate

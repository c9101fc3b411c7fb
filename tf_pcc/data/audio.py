"""Waveforms: decode, mix down, resample, change speed.

A waveform is float32 `[samples]` in [-1, 1] on the host. There soundfile
decodes: it is several times as fast as tensorflow-io, which on some damaged
FLAC files loops without end and on others fills lost blocks with zeros.
tensorflow-io decodes inside tf.data, and on the host where soundfile is not
installed; its native library loads with TensorFlow 2.16 and 2.17 only.
"""

import functools
import io
import os
import re
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tf_pcc import extras
from tf_pcc.data import formats, pyav
from tf_pcc.data.resampling import SAMPLE_RATE, resample, speed
from tf_pcc.data.segments import WHOLE, Segment

if TYPE_CHECKING:
  import tensorflow as tf

__all__ = [
  "FORMATS",
  "SAMPLE_RATE",
  "check_rate",
  "decode",
  "decode_flac",
  "decode_in_graph",
  "encode_flac",
  "header",
  "load",
  "mended",
  "resample",
  "sniff",
  "speed",
  "tensorflow_io",
  "to_float",
  "to_int16",
]

FORMATS = ("flac", "mp3", "ogg", "wav")
_INSTALL = (
  "pip install 'tf_pcc[speech]', or tensorflow-io==0.37.1 beside TensorFlow "
  "2.17"
)
# Lowest and highest sample rate, in Hz, that a recording can have.
_RATES = (4000, 384_000)
_NO_SAMPLES = "The audio must not be empty: it has zero samples."
# How TensorFlow wraps an op's own words when it runs eagerly.
_OP_NAMES = re.compile(r"\{\{.*?\}\}|\[Op:[^\]]*\](?: name:.*)?")


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


def _soundfile():
  try:
    import soundfile
  except (ImportError, OSError):  # OSError: libsndfile itself is missing
    return None
  return soundfile


def load(
  path: str | os.PathLike,
  sample_rate: int = SAMPLE_RATE,
  backend: str | None = None,
  segment: Segment = WHOLE,
  longest: float | None = None,
) -> np.ndarray:
  """Reads an audio file as a mono waveform.

  Args:
    path: A file of `formats.READABLE` (without soundfile: .wav, .flac, .mp3 or
      .ogg) or, with PyAV, of `formats.OTHERS`, local or anything that
      tf.io.gfile reads.
    sample_rate: Wanted rate in Hz; other rates are resampled. Default 16000.
    backend: "soundfile", "tensorflow-io" or None (default) for the first of
      them that works here.
    segment: The `Segment` of it to read. Default: all, all channels.
    longest: Seconds that it may last by its header. Default: any number.

  Returns:
    float32 array `[samples]`, the mean of the channels, finite, in [-1, 1].

  Raises:
    ValueError: If the file, which is named, is missing, empty, truncated, of no
      known format, without the `segment`, or with NaN or Inf samples.
  """
  path = os.fspath(path)
  if os.path.exists(path) and not os.path.isfile(path):
    raise ValueError(
      "`path` must be a regular file: no folder, FIFO or device. "
      f"Received: path={path}"
    )
  try:
    with _opened(path) as file:
      waveform, rate = _decode(file, backend, segment, longest)
  except ValueError as error:
    raise ValueError(f"{error} Received: path={path}") from error
  return resample(waveform, rate, sample_rate)


def _opened(path):
  """A file of bytes: a local one as it is, a remote one in memory.

  Raises:
    ValueError: If it cannot be read.
  """
  if os.path.isfile(path):
    try:
      return open(path, "rb")
    except OSError as error:
      raise _unreadable(error.strerror) from error
  import tensorflow as tf

  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      return io.BytesIO(file.read())
  except tf.errors.OpError as error:
    reason = error.message
    if os.path.islink(path) and not os.path.exists(path):
      reason = f"a broken link to {os.readlink(path)}"
    raise _unreadable(reason) from error


def _unreadable(reason):
  return ValueError(f"`path` must be a readable audio file: {reason}.")


def decode(
  data: bytes, backend: str | None = None, segment: Segment = WHOLE
) -> tuple[np.ndarray, int]:
  """Decodes the bytes of an audio file.

  Args:
    data: The file's bytes.
    backend: As for `load`.
    segment: As for `load`.

  Returns:
    (float32 array `[samples]`, the mean of the channels, in [-1, 1]; rate in
    Hz).

  Raises:
    ValueError: If something is wrong with the bytes.
  """
  return _decode(io.BytesIO(data), backend, segment)


def _decode(file, backend, segment, longest=None):
  """`decode` of an opened file."""
  if backend not in (None, "tensorflow-io", "soundfile"):
    raise ValueError(
      "`backend` must be tensorflow-io or soundfile. "
      f"Received: backend={backend!r}"
    )
  head = file.read(16)
  if not head:
    raise ValueError("The audio must not be empty: the file has zero bytes.")
  other = formats.other_format(head)
  if other and pyav.module() is None:
    raise ValueError(
      "Audio of this format needs PyAV: pip install 'tf_pcc[av]', or convert "
      f"it, for example with ffmpeg. Received: {other}."
    )
  reader = _soundfile() if backend != "tensorflow-io" else None
  file.seek(0)
  if other:
    waveform, rate = pyav.decode(file, segment, longest)
  elif reader is not None:
    waveform, rate = _decode_soundfile(file, reader, segment, longest)
  elif head[:4] == b"RIFF":
    # scipy reads all kinds of PCM, and notices that a file is truncated.
    waveform, rate = _decode_wav(file.read())
  elif backend != "soundfile" and tensorflow_io() is not None:
    waveform, rate = _decode_tensorflow(file.read())
  else:
    raise ValueError(f"Decoding audio needs a library: {_INSTALL}.")
  if not waveform.size:
    raise ValueError(_NO_SAMPLES)
  check_rate(rate)
  if reader is None and not other:  # they decode no more than the segment
    waveform = waveform[slice(*segment.bounds(len(waveform), rate))]
  waveform = segment.mix(waveform)
  # NaN is in both of them.
  lowest, highest = waveform.min(), waveform.max()
  if not np.isfinite([lowest, highest]).all():
    raise ValueError("The audio must be finite: it has NaN or Inf samples.")
  if lowest < -1 or highest > 1:
    waveform = np.clip(waveform, -1, 1)
  return waveform, int(rate)


def check_rate(rate: int) -> None:
  """Refuses a sample rate that no recording has.

  Args:
    rate: Rate in Hz.

  Raises:
    ValueError: If it is not from 4 to 384 kHz.
  """
  if not _RATES[0] <= rate <= _RATES[1]:
    raise ValueError(
      f"The sample rate must be from {_RATES[0]} to {_RATES[1]} Hz. Received: "
      f"rate={rate}."
    )


def _undecodable(reason):
  reason = " ".join(reason.removeprefix("Error : ").split()).rstrip(". ")
  return ValueError(f"The audio cannot be decoded: {reason}.")


def _decode_soundfile(source, soundfile, segment, longest):
  source = mended(source)
  try:
    with soundfile.SoundFile(source) as file:
      rate, first, expected = file.samplerate, 0, file.frames
      check_rate(rate)
      if expected:
        first, last = segment.bounds(expected, rate)
        expected = last - first
      if longest and expected > longest * rate:
        raise ValueError(
          f"A recording, or its segment, must last at most {longest} seconds: "
          f"cut it, or list its segments. Received: {expected / rate:.0f} "
          "seconds."
        )
      skipped = 0
      # After a seek in MP3 libsndfile gives silence.
      if first and file.seekable() and file.format != "MP3":
        file.seek(first)
      elif first:
        expected, skipped = expected + first, first
      waveform = file.read(expected, dtype="float32", always_2d=True)
  except soundfile.LibsndfileError as error:
    raise _undecodable(error.error_string) from error
  if len(waveform) < expected:
    raise ValueError(
      f"The audio is truncated: {len(waveform)} of {expected} samples."
    )
  return waveform[skipped:], rate


def mended(file: BinaryIO) -> BinaryIO:
  """A WAV or AIFF file as libsndfile should read it.

  Args:
    file: An open file, of any format.

  Returns:
    A file to read from its beginning.

  Raises:
    ValueError: If it is shorter than its header states.
  """
  chunk = formats.data_chunk(file)
  file.seek(0)
  if chunk is None:
    return file
  if chunk.stated is None:
    # Of a stream, or of a recorder that was killed: all there is.
    data = bytearray(file.read())
    there = min(chunk.there, 0xFFFFFFFF).to_bytes(4, "little")
    data[chunk.place : chunk.place + 4] = there
    return io.BytesIO(data)
  if chunk.there < chunk.stated:
    raise ValueError(
      f"The audio is truncated: {chunk.there} of {chunk.stated} bytes."
    )
  return file


def _decode_tensorflow(data):
  import tensorflow as tf

  kind = sniff(data)
  try:
    waveform, rate = _decode_compressed(tf.constant(data), kind)
  except tf.errors.OpError as error:
    raise _undecodable(_OP_NAMES.sub("", error.message)) from None
  return waveform.numpy(), int(rate)


def _decode_wav(data):
  wavfile = extras.load("scipy.io.wavfile", "Reading WAV", "speech")
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("error")  # scipy only warns of a truncated file
      warnings.filterwarnings("ignore", message=".*not understood")
      rate, samples = wavfile.read(io.BytesIO(data))
  except Exception as error:
    # On damaged headers scipy raises nearly anything: UnboundLocalError,
    # ZeroDivisionError, TypeError, MemoryError.
    known = isinstance(error, (ValueError, Warning, EOFError))
    reason = str(error) if known else f"its header is damaged ({error})"
    raise _undecodable(reason) from error
  if not samples.size:
    raise ValueError(_NO_SAMPLES)
  samples = samples.reshape(len(samples), -1)
  if samples.dtype.kind == "f":
    return samples.astype(np.float32), rate
  if samples.dtype == np.uint8:
    return (samples.astype(np.float32) - 128) / 128, rate
  scale = -float(np.iinfo(samples.dtype).min)
  return (samples / scale).astype(np.float32), rate


def header(path: str | os.PathLike) -> tuple[int, float] | None:
  """What the header of a local file states.

  Args:
    path: A file that soundfile reads.

  Returns:
    (rate in Hz, length in seconds), or None where it cannot be read or
    soundfile is not installed.
  """
  reader = _soundfile()
  if reader is None or not os.path.isfile(path):
    return None
  try:
    found = reader.info(os.fspath(path))
  except (reader.LibsndfileError, OSError):
    return None
  return (int(found.samplerate), float(found.duration))


def sniff(data: bytes) -> str:
  """The format of an audio file, one of `FORMATS`, by its first bytes."""
  if data[:4] == b"fLaC":
    return "flac"
  if data[:4] == b"RIFF":
    return "wav"
  if data[:4] == b"OggS":
    return "ogg"
  if data[:3] == b"ID3" or (data[0] == 0xFF and data[1:2] >= b"\xe0"):
    return "mp3"
  raise ValueError(
    f"The audio must be one of {FORMATS}. Received: first bytes={data[:4]}"
  )


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
    waveform, rate = _decode_compressed(data, kind)
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


def _decode_compressed(data, kind):
  """float32 `[samples, channels]` in [-1, 1] and the rate, in graph ops."""
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


def encode_flac(samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> bytes:
  """The bytes of a 16-bit mono FLAC file.

  Args:
    samples: int16 array `[samples]`.
    sample_rate: Rate in Hz. Default 16000.

  Returns:
    bytes; decoding them gives `samples / 32768` exactly.
  """
  writer = _soundfile()
  if writer is not None:
    file = io.BytesIO()
    writer.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
  tfio = tensorflow_io()
  if tfio is None:
    raise ValueError(f"Encoding FLAC needs a library: {_INSTALL}.")
  return tfio.audio.encode_flac(samples[:, None], rate=sample_rate).numpy()


def decode_flac(data: bytes) -> np.ndarray:
  """The samples of a file from `encode_flac`, exactly.

  Args:
    data: bytes of a 16-bit mono FLAC file.

  Returns:
    int16 array `[samples]`.
  """
  # libsndfile needs a quarter of the time tensorflow-io's op takes.
  reader = _soundfile()
  if reader is not None:
    return reader.read(io.BytesIO(data), dtype="int16")[0]
  return to_int16(decode(data)[0])


def to_int16(waveform: np.ndarray) -> np.ndarray:
  """Rounds a waveform in [-1, 1] to int16 `[samples]`."""
  # Times a power of two, in float32 too, nothing is rounded twice.
  waveform = np.asarray(waveform)
  kind = np.float32 if waveform.dtype == np.float32 else np.float64
  scaled = np.multiply(waveform, 32768, dtype=kind)
  np.rint(scaled, out=scaled)
  np.clip(scaled, -32768, 32767, out=scaled)
  return scaled.astype(np.int16)


def to_float(samples: np.ndarray) -> np.ndarray:
  """int16 `[samples]` as a float32 waveform in [-1, 1)."""
  return np.asarray(samples, np.int16).astype(np.float32) / 32768

"""Waveforms: decode, mix down, resample, change speed.

A waveform is float32 `[samples]` in [-1, 1] on the host. There soundfile
decodes: it is several times as fast as tensorflow-io, which on some damaged
FLAC files loops without end and on others fills lost blocks with zeros.
tensorflow-io decodes inside tf.data, and on the host where soundfile is not
installed; its native library loads with TensorFlow 2.16 and 2.17 only.
"""

import io
import os
import re

import numpy as np

from tf_pcc.data import formats, pyav, wav
from tf_pcc.data.audio_in_graph import (
  FORMATS,
  decode_compressed,
  decode_in_graph,
  tensorflow_io,
)
from tf_pcc.data.resampling import SAMPLE_RATE, resample, speed
from tf_pcc.data.samples import to_float, to_int16
from tf_pcc.data.segments import WHOLE, Segment
from tf_pcc.data.wav import mended

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

_INSTALL = (
  "pip install 'tf_pcc[speech]', or tensorflow-io==0.37.1 beside TensorFlow "
  "2.17"
)
# How TensorFlow wraps an op's own words when it runs eagerly.
_OP_NAMES = re.compile(r"\{\{.*?\}\}|\[Op:[^\]]*\](?: name:.*)?")
# Lowest and highest sample rate, in Hz, that a recording can have.
_RATES = (4000, 384_000)


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
    waveform, rate = wav.decode(file.read())
  elif backend != "soundfile" and tensorflow_io() is not None:
    waveform, rate = _decode_tensorflow(file.read())
  else:
    raise ValueError(f"Decoding audio needs a library: {_INSTALL}.")
  if not waveform.size:
    raise ValueError(wav.NO_SAMPLES)
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
    raise wav.undecodable(error.error_string) from error
  except TypeError as error:
    # Of a file named .raw it wants to be told what is in it.
    raise wav.undecodable(str(error)) from error
  if len(waveform) < expected:
    raise ValueError(
      f"The audio is truncated: {len(waveform)} of {expected} samples."
    )
  return waveform[skipped:], rate


def _decode_tensorflow(data):
  import tensorflow as tf

  kind = sniff(data)
  try:
    waveform, rate = decode_compressed(tf.constant(data), kind)
  except tf.errors.OpError as error:
    raise wav.undecodable(_OP_NAMES.sub("", error.message)) from None
  return waveform.numpy(), int(rate)


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
  except (reader.LibsndfileError, OSError, TypeError):
    return None
  return (int(found.samplerate), float(found.duration))


def sniff(data: bytes) -> str:
  """The format of an audio file, by its first bytes.

  Args:
    data: The file's first bytes, at least 4.

  Returns:
    One of `FORMATS`.

  Raises:
    ValueError: If it is none of them.
  """
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


def encode_flac(samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> bytes:
  """The bytes of a 16-bit mono FLAC file.

  Args:
    samples: int16 array `[samples]`.
    sample_rate: Rate in Hz. Default 16000.

  Returns:
    bytes; decoding them gives `samples / 32768` exactly.

  Raises:
    ValueError: If no library that encodes FLAC is installed.
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

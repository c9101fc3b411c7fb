"""WAV files: those whose length was never filled in, and scipy's reader."""

import io
import os
import warnings
from typing import BinaryIO, cast

import numpy as np

from tf_pcc import extras
from tf_pcc.data import formats

NO_SAMPLES = "The audio must not be empty: it has zero samples."


def undecodable(reason: str) -> ValueError:
  """The error about audio that a library refuses.

  Args:
    reason: What the library says, in its own form.

  Returns:
    ValueError, not raised.
  """
  reason = " ".join(reason.removeprefix("Error : ").split()).rstrip(". ")
  return ValueError(f"The audio cannot be decoded: {reason}.")


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
    there = min(chunk.there, 0xFFFFFFFF).to_bytes(4, "little")
    return cast(BinaryIO, _Patched(file, chunk.place, there))
  if chunk.there < chunk.stated:
    raise ValueError(
      f"The audio is truncated: {chunk.there} of {chunk.stated} bytes."
    )
  return file


class _Patched:
  """A file some of whose bytes are others: a recording of hours is not copied.

  What soundfile asks of a file, and no more.
  """

  def __init__(self, file, place, patch):
    self._file, self._place, self._patch = file, place, patch

  def read(self, size=-1):
    start = self._file.tell()
    data = bytearray(self._file.read(size))
    for at, byte in enumerate(self._patch, self._place - start):
      if 0 <= at < len(data):
        data[at] = byte
    return bytes(data)

  def seek(self, offset, whence=os.SEEK_SET):
    return self._file.seek(offset, whence)

  def tell(self):
    return self._file.tell()


def decode(data: bytes) -> tuple[np.ndarray, int]:
  """Decodes a WAV file by scipy, which needs no other library.

  Args:
    data: The file's bytes.

  Returns:
    (float32 array `[samples, channels]` in [-1, 1], rate in Hz).

  Raises:
    ValueError: If it has no samples, is damaged or truncated.
  """
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
    raise undecodable(reason) from error
  if not samples.size:
    raise ValueError(NO_SAMPLES)
  samples = samples.reshape(len(samples), -1)
  if samples.dtype.kind == "f":
    return samples.astype(np.float32), rate
  if samples.dtype == np.uint8:
    return (samples.astype(np.float32) - 128) / 128, rate
  scale = -float(np.iinfo(samples.dtype).min)
  return (samples / scale).astype(np.float32), rate

"""Recordings of any length, read block after block.

`tf_pcc.data.audio.load` holds a whole recording in memory, several times over
while it decodes and resamples. `blocks` gives the same samples of hours in
pieces of a minute.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

import numpy as np

from tf_pcc.data import audio, resampling

# Up to so many samples, of all channels, a recording is read at once.
_AT_ONCE = 10 * 60 * 48_000
_BLOCK_SECONDS = 60


def blocks(
  path: str | os.PathLike, sample_rate: int = audio.SAMPLE_RATE
) -> Iterator[np.ndarray]:
  """Reads an audio file in blocks.

  Args:
    path: As for `tf_pcc.data.audio.load`. Long files that are not local, or of
      a format that soundfile does not read, are read at once.
    sample_rate: Wanted rate in Hz. Default 16000.

  Yields:
    int16 arrays `[samples]`: joined, the rounded samples that `load` gives.

  Raises:
    ValueError: If `load` would raise it; where a long file is damaged, after
      the blocks before the damage.
  """
  path = os.fspath(path)
  with contextlib.ExitStack() as stack:
    file = _long_file(path, stack)
    if file is None:
      yield audio.to_int16(audio.load(path, sample_rate))
      return
    try:
      audio.check_rate(file.samplerate)
      for waveform in resampled(_mono(file), file.samplerate, sample_rate):
        yield audio.to_int16(waveform)
    except ValueError as error:
      raise ValueError(f"{error} Received: path={path}") from error


def resampled(
  waveforms: Iterable[np.ndarray], rate: int, sample_rate: int
) -> Iterator[np.ndarray]:
  """Resamples consecutive blocks, to the samples that the whole would have.

  Args:
    waveforms: Iterable of float32 arrays `[samples]`.
    rate: Their rate in Hz.
    sample_rate: The wanted rate in Hz.

  Yields:
    float32 arrays `[samples]`.
  """
  if rate == sample_rate:
    yield from waveforms
    return
  up, down = resampling.ratio(rate, sample_rate)
  # In whole steps of `down`, which are whole samples of the result.
  context = (resampling.reach(rate, sample_rate) // down + 2) * down
  # The start of what is held, then sound whose output is still to come.
  held, before = np.zeros(0, np.float32), 0
  for waveform in waveforms:
    held = np.concatenate([held, waveform])
    ready = (len(held) - before - context) // down * down
    if ready <= 0:
      continue
    end = before + ready
    part = resampling.resample(held[: end + context], rate, sample_rate)
    yield part[before * up // down : end * up // down]
    keep = max(0, end - context)
    held, before = held[keep:], end - keep
  if len(held) > before:
    part = resampling.resample(held, rate, sample_rate)
    yield part[before * up // down :]


def _long_file(path, stack):
  """The open `soundfile.SoundFile` of a long recording, or None.

  Args:
    path: of the recording.
    stack: `contextlib.ExitStack` that closes it.
  """
  if not os.path.isfile(path):
    # It may be remote; a FIFO would not end.
    return None
  try:
    import soundfile

    source = stack.enter_context(open(path, "rb"))  # noqa: SIM115
    file = stack.enter_context(soundfile.SoundFile(audio.mended(source)))
  except (ImportError, OSError, RuntimeError, ValueError):
    # `load` knows other ways, and what to say.
    return None
  return file if file.frames * file.channels > _AT_ONCE else None


def _mono(file):
  """Blocks of a `soundfile.SoundFile`, float32 `[samples]`."""
  import soundfile

  expected, read = file.frames, 0
  try:
    while True:
      samples = file.read(
        _BLOCK_SECONDS * file.samplerate, dtype="float32", always_2d=True
      )
      if not len(samples):
        break
      read += len(samples)
      waveform = samples.mean(axis=1, dtype=np.float32)
      if not np.isfinite(waveform).all():
        raise ValueError("The audio must be finite: it has NaN or Inf samples.")
      yield np.clip(waveform, -1, 1)
  except soundfile.LibsndfileError as error:
    reason = " ".join(error.error_string.removeprefix("Error : ").split())
    raise ValueError(
      f"The audio cannot be decoded: {reason.rstrip('. ')}."
    ) from error
  if read < expected:
    raise ValueError(f"The audio is truncated: {read} of {expected} samples.")

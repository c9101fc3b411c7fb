"""AAC, ALAC, Windows Media, AMR, Matroska and WebM, by PyAV (extra `av`).

PyAV brings FFmpeg's libraries. They are asked for what soundfile does not
decode and for nothing else: on damaged files they are lenient.
"""

from typing import Any, BinaryIO

import numpy as np

from tf_pcc.data.segments import WHOLE, Segment

# Seconds that a file may be shorter than it states.
_TOLERANCE = 0.25


def module() -> Any:
  """The module av, or None where it is not installed."""
  try:
    import av
  except (ImportError, OSError):  # OSError: a library of FFmpeg is missing
    return None
  return av


def decode(
  file: BinaryIO, segment: Segment = WHOLE, longest: float | None = None
) -> tuple[np.ndarray, int]:
  """Decodes the first sound track of a file.

  Args:
    file: Opened for reading.
    segment: The part of it to decode. Default: all.
    longest: Seconds that it may last. Default: any number.

  Returns:
    (float32 array `[samples, channels]`, rate in Hz).

  Raises:
    ValueError: If it cannot be decoded, is truncated, too long, without sound,
      or without the `segment`.
  """
  av = module()
  try:
    with av.open(file, mode="r", **_tolerant(av)) as container:
      return _decode(container, segment, longest)
  except (av.FFmpegError, EOFError) as error:
    reason = getattr(error, "strerror", "") or str(error)
    raise ValueError(f"The audio cannot be decoded: {reason}.") from error


def _tolerant(av):
  """Arguments for titles that are not UTF-8: they do not matter."""
  # From 19 on they are no error until somebody asks for them.
  old = int(av.__version__.partition(".")[0]) < 19
  return {"metadata_errors": "ignore"} if old else {}


def _decode(container, segment, longest):
  if not container.streams.audio:
    raise ValueError("The audio cannot be decoded: the file has no sound.")
  stream = container.streams.audio[0]
  stream.codec_context.options = {"err_detect": "explode"}
  rate, channels, position, kept, dropped = 0, 0, 0, [], 0
  whole = True
  for frame in container.decode(stream):
    form = (frame.sample_rate, len(frame.layout.channels))
    if not rate:
      rate, channels = form
      first, last = segment.places(rate)
    if form != (rate, channels):
      raise ValueError(
        "The rate and the channels of the audio must not change: convert it. "
        f"Received: {(rate, channels)}, then {form}."
      )
    if position + frame.samples <= first:
      dropped += frame.samples
    else:
      kept.append(_floats(frame, channels))
    position += frame.samples
    if longest and position - first > longest * rate:
      raise ValueError(
        f"A recording, or its segment, must last at most {longest} seconds: "
        "cut it, or list its segments."
      )
    if position >= last:
      whole = False
      break
  if not position:
    raise ValueError("The audio must not be empty: it has zero samples.")
  stated = _stated(container, stream)
  if whole and stated and position / rate < stated - _TOLERANCE:
    raise ValueError(
      f"The audio is truncated: {position / rate:.2f} of {stated:.2f} seconds."
    )
  first, last = segment.bounds(position, rate)
  return np.concatenate(kept)[first - dropped : last - dropped], rate


def _stated(container, stream):
  """Seconds that the file states, or None where FFmpeg only guesses them."""
  if container.format.name in ("aac", "amr"):
    return None
  if stream.duration:
    return float(stream.duration * stream.time_base)
  return container.duration / 1e6 if container.duration else None


def _floats(frame, channels):
  """The samples of a frame, float32 `[samples, channels]`."""
  samples = frame.to_ndarray()
  samples = (
    samples.T if frame.format.is_planar else samples.reshape(-1, channels)
  )
  if samples.dtype.kind == "f":
    return samples.astype(np.float32)
  if samples.dtype == np.uint8:
    return (samples.astype(np.float32) - 128) / 128
  return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)

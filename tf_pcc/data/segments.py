"""Which part of a recording an utterance is, and how exactly lengths must hold.

A length that a corpus states and the length of the sound may differ by 0.25
seconds or 5 %, whichever is more: lengths are rounded, and MP3 pads. Beyond
that the transcript and the sound are not the same, or the sound is cut.
"""

import dataclasses
import math

import numpy as np

_SECONDS, _SHARE = 0.25, 0.05
# A corpus may state 1e308 seconds.
_FURTHEST = 2.0**62


@dataclasses.dataclass(frozen=True)
class Segment:
  """A part of a recording.

  Attributes:
    start: Where it begins, in seconds. Default 0.
    seconds: How long it lasts. Default None: to the end.
    channels: Tuple of the channels to average, from 0. Default (): all.
  """

  start: float = 0.0
  seconds: float | None = None
  channels: tuple[int, ...] = ()

  def places(self, rate: int) -> tuple[float, float]:
    """Where it is stated to be, in samples.

    Args:
      rate: Sample rate in Hz.

    Returns:
      (first sample, one after the last sample); infinite where that is to the
      end, or further than any recording reaches.
    """
    end = math.inf if self.seconds is None else self.start + self.seconds
    first, last = (
      round(place) if place < _FURTHEST else math.inf
      for place in (self.start * rate, end * rate)
    )
    return first, last

  def bounds(self, samples: int, rate: int) -> tuple[int, int]:
    """Where it is in a recording.

    Args:
      samples: Length of the recording, samples of one channel.
      rate: Sample rate in Hz.

    Returns:
      (first sample, one after the last sample).

    Raises:
      ValueError: If the recording ends before it, or in it by more than the
        tolerance.
    """
    first, last = (int(min(place, samples)) for place in self.places(rate))
    there = (last - first) / rate
    if there <= 0 or not _agree(
      there if self.seconds is None else self.seconds, there
    ):
      length = "" if self.seconds is None else f", duration={self.seconds:g}"
      raise ValueError(
        "The segment must lie in the recording and not be empty: repair its "
        f"offset and duration. Received: offset={self.start:g}{length}, "
        f"recording of {samples / rate:.3f} seconds."
      )
    return first, last

  def mix(self, waveform: np.ndarray) -> np.ndarray:
    """The mean of the chosen channels.

    Args:
      waveform: float array `[samples, channels]`.

    Returns:
      float32 array `[samples]`.

    Raises:
      ValueError: If there is no such channel.
    """
    if self.channels:
      if max(self.channels) >= waveform.shape[1]:
        raise ValueError(
          "The chosen channels must be in the recording; they count from 0. "
          f"Received: channels={self.channels}, recording of "
          f"{waveform.shape[1]} channels."
        )
      waveform = waveform[:, list(self.channels)]
    if waveform.shape[1] == 1:
      return np.asarray(waveform[:, 0], np.float32)
    return waveform.mean(axis=1, dtype=np.float32)


WHOLE = Segment()


def check_length(stated: float, actual: float) -> None:
  """Refuses a stated length that the sound does not have.

  Args:
    stated: Seconds that the corpus states.
    actual: Seconds of the sound.

  Raises:
    ValueError: If they differ by more than the tolerance of the module.
  """
  if not _agree(stated, actual):
    raise ValueError(
      f"The sound must be as long as the corpus states, within {_SECONDS} "
      f"seconds or {_SHARE:.0%}: repair the stated length, or the file. "
      f"Received: stated={stated:.3f}, sound={actual:.3f} seconds."
    )


def _agree(stated, actual):
  return abs(stated - actual) <= max(_SECONDS, _SHARE * stated)

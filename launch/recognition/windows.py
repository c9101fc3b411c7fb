"""Long sound through a model: windows that overlap, joined in time.

A model takes up to `_WHOLE` seconds at once. Of longer sound each window gives
the frames that are nearer to its middle than to the middle of another, and what
decodes sees the frames of the whole.
"""

import dataclasses
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from models.speech_model import SpeechModel

_WHOLE = 60.0
_WINDOW, _OVERLAP = 20.0, 4.0


@dataclasses.dataclass(frozen=True)
class Part:
  """A window of an utterance.

  Attributes:
    key: the utterance's.
    start: first frame of the whole that is kept of it.
    stop: one after the last.
    offset: the frame of the whole at which the window begins.
    total: frames of the whole.
  """

  key: Hashable
  start: int
  stop: int
  offset: int
  total: int


class Windows:
  """Cuts long sound, and joins the outputs of its windows in time.

  Args:
    model: as for `Driver`.
    sample_rate: Hz.
  """

  def __init__(self, model: SpeechModel, sample_rate: int):
    self._model = model
    self._whole = round(_WHOLE * sample_rate)
    self._size = round(_WINDOW * sample_rate)
    self._sample_rate = sample_rate
    self._parts = {}

  def cut(
    self, sounds: Iterable[tuple[Hashable, np.ndarray]]
  ) -> Iterator[tuple[Hashable, np.ndarray]]:
    """Cuts long sound into windows.

    Args:
      sounds: pairs (key, float or int16 [samples]).

    Yields:
      (key, sound), or (`Part`, window) where the sound is long.
    """
    for key, waveform in sounds:
      if len(waveform) <= self._whole:
        yield key, waveform
      else:
        yield from self._cut(key, waveform)

  def _cut(self, key, waveform):
    frame = round(self._model.frame_seconds * self._sample_rate)
    # The chunks of a streaming model begin where they begin in the whole.
    step = self._model.chunk_samples or frame
    stride = round((_WINDOW - _OVERLAP) * self._sample_rate) // step * step
    # What windows share is cut in its middle.
    margin = (self._size - stride) // 2 // frame
    last = -(-(len(waveform) - self._size) // step) * step
    # The last ends with the sound, to be as long as the others.
    begins = [*range(0, last, stride), last]
    offsets = [begin // frame for begin in begins]
    starts = [0, *(offset + margin for offset in offsets[1:])]
    total = int(self._model.frames(len(waveform)))
    for begin, offset, start, stop in zip(
      begins, offsets, starts, [*starts[1:], total]
    ):
      part = Part(key, start, stop, offset, total)
      yield part, waveform[begin : begin + self._size]

  def add(
    self, part: Part, outputs: Mapping[str, np.ndarray]
  ) -> dict[str, Any] | None:
    """Takes a window's outputs.

    Args:
      part: `Part`.
      outputs: dict of the model's arrays, [T, ...] but for "length", [].

    Returns:
      The outputs of the whole where this was its last window, else None.
    """
    kept = {
      name: array[part.start - part.offset : part.stop - part.offset]
      for name, array in outputs.items()
      if name != "length"
    }
    parts = self._parts.setdefault(part.key, {})
    parts[part.start] = kept
    if sum(len(next(iter(p.values()))) for p in parts.values()) < part.total:
      return None
    parts = [parts[start] for start in sorted(parts)]
    del self._parts[part.key]
    whole = {
      name: np.concatenate([p[name] for p in parts]) for name in parts[0]
    }
    return whole | {"length": np.int32(part.total)}

"""What a waveform is like: its level, silence and clipping."""

import dataclasses
import hashlib

import numpy as np

from tf_pcc.data import audio

# Lengths of frames in seconds, and levels in dB of full scale.
_FRAME = 0.025
_SILENT = -60.0
_BELOW_PEAK = 40.0
# Samples at full scale count as clipped in runs of so many.
_FULL, _RUN = 0.999, 3
_CLIPPED = 1e-3


@dataclasses.dataclass(frozen=True)
class Sound:
  """What a waveform is like.

  Attributes:
    seconds: Its length.
    peak: Largest absolute sample.
    level: RMS of its loudest frame of 25 ms, in dB of full scale.
    quiet: Share of its frames that are silent: 40 dB below the loudest one, or
      below -60 dB of full scale.
    clipped: Share of its samples at full scale, in runs of three or more.
    offset: Mean of its samples.
    digest: Equal for equal sound.
  """

  seconds: float
  peak: float
  level: float
  quiet: float
  clipped: float
  offset: float
  digest: str

  @property
  def is_silent(self) -> bool:
    """Whether it has no frame above -60 dB of full scale."""
    return self.level < _SILENT

  @property
  def is_clipped(self) -> bool:
    """Whether more than a thousandth of it is clipped."""
    return self.clipped > _CLIPPED


def measure(waveform: np.ndarray, rate: int = audio.SAMPLE_RATE) -> Sound:
  """Measures a waveform.

  Args:
    waveform: int16 or float array `[samples]`, floats in [-1, 1].
    rate: Its rate in Hz. Default 16000.

  Returns:
    A `Sound`.
  """
  samples = np.asarray(waveform)
  samples = samples if samples.dtype == np.int16 else audio.to_int16(samples)
  digest = hashlib.sha256(samples.tobytes()).hexdigest()[:16]
  wave = audio.to_float(samples)
  size = max(min(round(_FRAME * rate), len(wave)), 1)
  frames = wave[: len(wave) // size * size].reshape(-1, size)
  power = np.mean(np.square(frames, dtype=np.float64), axis=1)
  levels = 10 * np.log10(np.maximum(power, 1e-12))
  floor = max(levels.max() - _BELOW_PEAK, _SILENT)
  return Sound(
    seconds=len(wave) / rate,
    peak=float(np.abs(wave).max()),
    level=float(levels.max()),
    quiet=float(np.mean(levels < floor)),
    clipped=_in_runs(np.abs(wave) >= _FULL) / len(wave),
    offset=float(wave.mean(dtype=np.float64)),
    digest=digest,
  )


def _in_runs(full):
  """How many of booleans are True in runs of at least `_RUN`."""
  edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]])))
  lengths = edges[1::2] - edges[::2]
  return int(lengths[lengths >= _RUN].sum())

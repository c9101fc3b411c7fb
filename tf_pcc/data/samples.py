"""Waveforms as 16-bit samples and back."""

import numpy as np


def to_int16(waveform: np.ndarray) -> np.ndarray:
  """Rounds a waveform to 16 bits.

  Args:
    waveform: float array `[samples]`; it is clipped to [-1, 1).

  Returns:
    int16 array `[samples]`.
  """
  # Times a power of two, in float32 too, nothing is rounded twice.
  waveform = np.asarray(waveform)
  kind = np.float32 if waveform.dtype == np.float32 else np.float64
  scaled = np.multiply(waveform, 32768, dtype=kind)
  np.rint(scaled, out=scaled)
  np.clip(scaled, -32768, 32767, out=scaled)
  return scaled.astype(np.int16)


def to_float(samples: np.ndarray) -> np.ndarray:
  """Samples as a waveform.

  Args:
    samples: int16 array `[samples]`.

  Returns:
    float32 array `[samples]` in [-1, 1).
  """
  return np.asarray(samples, np.int16).astype(np.float32) / 32768

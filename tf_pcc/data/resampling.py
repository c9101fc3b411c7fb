"""Other sample rates and other speeds, by SciPy's polyphase filter."""

import fractions
import math

import numpy as np

from tf_pcc import extras

SAMPLE_RATE = 16000


def resample(
  waveform: np.ndarray, rate: int, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
  """Resamples by a polyphase filter (scipy.signal.resample_poly).

  Args:
    waveform: float array `[samples]` in [-1, 1].
    rate: Its rate in Hz.
    sample_rate: The wanted rate in Hz. Default 16000.

  Returns:
    float32 array `[ceil(samples * sample_rate / rate)]` in [-1, 1]; the input
    itself where the rates are equal.
  """
  if rate <= 0 or sample_rate <= 0:
    raise ValueError(
      "`rate` and `sample_rate` must be positive. "
      f"Received: rate={rate}, sample_rate={sample_rate}"
    )
  ratio = fractions.Fraction(int(sample_rate), int(rate))
  return _polyphase(waveform, ratio)


def speed(waveform: np.ndarray, factor: float) -> np.ndarray:
  """Plays a waveform `factor` times faster; the pitch rises with it.

  Args:
    waveform: float array `[samples]` in [-1, 1].
    factor: Positive number; 4 makes it a quarter as long. It is rounded to a
      ratio of whole numbers with a denominator up to 100.

  Returns:
    float32 array `[ceil(samples / factor)]` in [-1, 1].
  """
  if not factor > 0 or not math.isfinite(factor):
    raise ValueError(
      f"`factor` must be positive and finite. Received: factor={factor}"
    )
  ratio = 1 / fractions.Fraction(factor).limit_denominator(100)
  return _polyphase(waveform, ratio)


def _polyphase(waveform, ratio):
  waveform = np.asarray(waveform, np.float32)
  if waveform.ndim != 1 or not waveform.size:
    raise ValueError(
      "`waveform` must have shape [samples] with at least one sample. "
      f"Received: shape={waveform.shape}"
    )
  if ratio == 1:
    return waveform
  signal = extras.load("scipy.signal", "Resampling", "speech")
  result = signal.resample_poly(waveform, ratio.numerator, ratio.denominator)
  return np.clip(result, -1, 1).astype(np.float32)

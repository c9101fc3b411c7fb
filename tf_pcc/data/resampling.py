"""Other sample rates and other speeds, by SciPy's polyphase filter."""

import fractions
import functools
import math

import numpy as np

from tf_pcc import extras

SAMPLE_RATE = 16000
# Of the filter: attenuation, and periods of the lower rate on either side.
_DECIBELS, _HALF_LENGTH = 70.0, 48


def resample(
  waveform: np.ndarray, rate: int, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
  """Resamples by a polyphase filter (scipy.signal.resample_poly).

  What the lower rate cannot hold is 70 dB down; up to nine tenths of half the
  lower rate nothing is lost.

  Args:
    waveform: float array `[samples]` in [-1, 1].
    rate: Its rate in Hz.
    sample_rate: The wanted rate in Hz. Default 16000.

  Returns:
    float32 array `[ceil(samples * sample_rate / rate)]` in [-1, 1]; the input
    itself where the rates are equal.

  Raises:
    ValueError: If a rate is not positive or the waveform is not `[samples]`.
  """
  if rate <= 0 or sample_rate <= 0:
    raise ValueError(
      "`rate` and `sample_rate` must be positive. "
      f"Received: rate={rate}, sample_rate={sample_rate}"
    )
  ratio = fractions.Fraction(int(sample_rate), int(rate))
  longer = max(ratio.numerator, ratio.denominator)
  return _polyphase(waveform, ratio, lambda: _taps(longer))


def ratio(rate: int, sample_rate: int) -> tuple[int, int]:
  """The ratio of two rates as up / down.

  Args:
    rate: Rate in Hz.
    sample_rate: The wanted rate in Hz.

  Returns:
    (up, down), the smallest whole numbers of that ratio.
  """
  reduced = fractions.Fraction(int(sample_rate), int(rate))
  return reduced.numerator, reduced.denominator


def reach(rate: int, sample_rate: int) -> int:
  """How far a resampled sample looks to either side.

  Args:
    rate: Rate in Hz.
    sample_rate: The wanted rate in Hz.

  Returns:
    Samples at `rate`.
  """
  up, down = ratio(rate, sample_rate)
  return -(-_HALF_LENGTH * max(up, down) // up)


def speed(waveform: np.ndarray, factor: float) -> np.ndarray:
  """Plays a waveform `factor` times faster; the pitch rises with it.

  Args:
    waveform: float array `[samples]` in [-1, 1].
    factor: Positive number; 4 makes it a quarter as long. It is rounded to a
      ratio of whole numbers with a denominator up to 100.

  Returns:
    float32 array `[ceil(samples / factor)]` in [-1, 1].

  Raises:
    ValueError: If `factor` is not positive and finite or the waveform is not
      `[samples]`.
  """
  if not factor > 0 or not math.isfinite(factor):
    raise ValueError(
      f"`factor` must be positive and finite. Received: factor={factor}"
    )
  ratio = 1 / fractions.Fraction(factor).limit_denominator(100)
  # SciPy's own short filter: canaries planned before stay as they are.
  return _polyphase(waveform, ratio, lambda: ("kaiser", 5.0))


@functools.lru_cache(maxsize=8)
def _taps(longer):
  """A low-pass filter for a ratio of numbers, the longer one of which is given.

  Its stop band of 70 dB begins at half the lower rate (Kaiser's formulas).
  """
  signal = extras.load("scipy.signal", "Resampling", "speech")
  width = (_DECIBELS - 7.95) / (2.285 * 2 * _HALF_LENGTH * math.pi)
  return signal.firwin(
    2 * _HALF_LENGTH * longer + 1,
    (1 - width / 2) / longer,
    window=("kaiser", signal.kaiser_beta(_DECIBELS)),
  ).astype(np.float32)


def _polyphase(waveform, ratio, window):
  waveform = np.asarray(waveform, np.float32)
  if waveform.ndim != 1 or not waveform.size:
    raise ValueError(
      "`waveform` must have shape [samples] with at least one sample. "
      f"Received: shape={waveform.shape}"
    )
  if ratio == 1:
    return waveform
  signal = extras.load("scipy.signal", "Resampling", "speech")
  result = signal.resample_poly(
    waveform, ratio.numerator, ratio.denominator, window=window()
  )
  return np.clip(result, -1, 1).astype(np.float32)

"""Other speeds, pitches and noise for the recordings of training.

Each time that an utterance is seen it is changed by random numbers of its own.
They are a function of the seed, the step and the row, so a run that resumes
draws what it would have drawn without the interruption.
"""

import dataclasses
import math

import numpy as np

from tf_pcc.data.resampling import speed

# Samples of a window of `stretch`, and by which neighbours overlap: 32 ms.
_WINDOW, _HOP = 512, 128


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """What is drawn for an utterance; nothing by default.

  Attributes:
    speeds: Factors of speed, one of which is drawn, such as (0.9, 1.0, 1.1):
      the pitch changes with it.
    pitches: Lowest and highest factor of pitch, drawn uniformly by logarithm,
      such as (0.8, 1.25): the duration stays.
    noise_db: Lowest and highest ratio of the signal to Gaussian noise, in dB,
      drawn uniformly, such as (10, 40). The noise is white to brown: its
      spectrum falls by 0 to 6 dB an octave.

  Raises:
    ValueError: If a factor is not from 0.25 to 4, or a range is none.
  """

  speeds: tuple[float, ...] = ()
  pitches: tuple[float, ...] = ()
  noise_db: tuple[float, ...] = ()

  def __post_init__(self):
    factors = (*self.speeds, *self.pitches)
    if not all(0.25 <= factor <= 4 for factor in factors):
      raise ValueError(
        "Factors of speed and pitch must be from 0.25 to 4. Received: "
        f"speeds={self.speeds}, pitches={self.pitches}"
      )
    for name in ("pitches", "noise_db"):
      found = getattr(self, name)
      if found and (len(found) != 2 or not found[0] <= found[1] < math.inf):
        raise ValueError(
          f"`{name}` must be a lowest and a highest value, or empty. "
          f"Received: {name}={found}"
        )

  def __bool__(self):
    return bool(self.speeds or self.pitches or self.noise_db)

  @property
  def slowest(self) -> float:
    """The smallest factor of speed, at most 1."""
    return min((*self.speeds, 1.0))

  def draw(self, random: np.random.Generator) -> "Change":
    """What becomes of one utterance.

    Args:
      random: Where its random numbers come from.

    Returns:
      `Change`.
    """
    factor = (
      self.speeds[random.integers(len(self.speeds))] if self.speeds else 1
    )
    pitch, noise_db, fall = 1.0, None, 0.0
    if self.pitches:
      pitch = math.exp(random.uniform(*np.log(self.pitches)))
    if self.noise_db:
      low, high = self.noise_db
      noise_db, fall = random.uniform(low, high), random.uniform()
    return Change(float(factor), pitch, noise_db, fall)


@dataclasses.dataclass(frozen=True)
class Change:
  """What becomes of an utterance.

  Attributes:
    speed: Factor of speed.
    pitch: Factor of pitch beyond that.
    noise_db: Ratio of the signal to the noise in dB, or None for no noise.
    fall: How the noise's amplitude falls with the frequency: 0 white, 1 brown.
  """

  speed: float = 1.0
  pitch: float = 1.0
  noise_db: float | None = None
  fall: float = 0.0

  def samples(self, count: int) -> int:
    """The length of a changed waveform.

    Args:
      count: Samples before.

    Returns:
      Samples after.
    """
    return math.ceil(count / self.speed) if self.speed != 1 else count

  def apply(
    self, waveform: np.ndarray, random: np.random.Generator
  ) -> np.ndarray:
    """Changes a waveform.

    Args:
      waveform: int16 array `[samples]`.
      random: Where the noise comes from.

    Returns:
      int16 array `[self.samples(samples)]`.
    """
    if not len(waveform):
      return waveform
    count = self.samples(len(waveform))
    result = np.asarray(waveform, np.float32) / 32768
    if self.speed * self.pitch != 1:
      result = speed(result, self.speed * self.pitch)
    if self.pitch != 1:
      result = stretch(result, count)
    result = _fitted(result, count)
    if self.noise_db is not None:
      level = np.sqrt(np.mean(np.square(result)))
      noise = _noise(count, self.fall, random)
      result = result + noise * level * 10 ** (-self.noise_db / 20)
    return np.clip(np.round(result * 32768), -32768, 32767).astype(np.int16)


def stretch(waveform: np.ndarray, count: int) -> np.ndarray:
  """Another duration, the same pitch, by a phase vocoder.

  Args:
    waveform: float array `[samples]`, at least one.
    count: Samples that are wanted.

  Returns:
    float32 array `[count]`.
  """
  window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
  frames = -(-count // _HOP) + 1
  # Where each frame of the result comes from, and the one hop before it.
  places = np.arange(frames) * _HOP * (len(waveform) / count)
  padded = np.pad(waveform, (_WINDOW // 2 + _HOP, _WINDOW + _HOP))
  starts = np.minimum(places.round().astype(int), len(waveform)) + _HOP
  index = starts[:, None] + np.arange(_WINDOW)
  now = np.fft.rfft(padded[index] * window)
  before = np.fft.rfft(padded[index - _HOP] * window)
  # The phase that each band gains in a hop, summed up from frame to frame.
  phases = np.angle(now) - np.angle(before)
  phases[0] = np.angle(now[0])
  spectra = np.abs(now) * np.exp(1j * np.cumsum(phases, axis=0))
  parts = np.fft.irfft(spectra, _WINDOW) * window
  result = np.zeros(frames * _HOP + _WINDOW)
  scale = np.zeros_like(result)
  for number, part in enumerate(parts):
    result[number * _HOP :][:_WINDOW] += part
    scale[number * _HOP :][:_WINDOW] += window**2
  result = result / np.maximum(scale, 1e-3)
  return result[_WINDOW // 2 :][:count].astype(np.float32)


def _noise(count, fall, random):
  """Gaussian noise of mean square 1, float32 `[count]`."""
  noise = random.standard_normal(count).astype(np.float32)
  if fall and count > 2:
    spectrum = np.fft.rfft(noise)
    spectrum[0] = 0
    spectrum[1:] *= np.arange(1, len(spectrum)) ** -fall
    noise = np.fft.irfft(spectrum, count)
  return noise / max(np.sqrt(np.mean(np.square(noise))), 1e-9)


def _fitted(waveform, count):
  """Exactly so many samples: rounded ratios give one more, or less."""
  if len(waveform) >= count:
    return waveform[:count]
  return np.pad(waveform, (0, count - len(waveform)))

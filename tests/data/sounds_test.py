"""Levels, silence and clipping, by their definitions."""

import numpy as np
import pytest

from tf_pcc.data import sounds

RATE = 16000


def _sine(seconds, height, rate=RATE):
  return height * np.sin(
    2 * np.pi * 400 * np.arange(int(seconds * rate)) / rate
  )


def test_the_level_of_a_sine():
  found = sounds.measure(_sine(1, 0.5))
  assert found.seconds == 1
  assert found.peak == pytest.approx(0.5, abs=1e-3)
  assert found.level == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.05)
  assert found.quiet == found.clipped == 0
  assert abs(found.offset) < 1e-4
  assert not found.is_silent and not found.is_clipped


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_the_share_of_silence(share):
  wave = _sine(4, 0.3)
  wave[int(len(wave) * (1 - share)) :] *= 1e-3
  assert sounds.measure(wave).quiet == pytest.approx(share, abs=0.01)


def test_silence_is_silent():
  for wave in (np.zeros(8000), np.random.default_rng(0).normal(0, 1e-5, 8000)):
    found = sounds.measure(wave)
    assert found.is_silent and found.quiet == 1


def test_clipping_is_runs_at_full_scale():
  wave = _sine(1, 2.0)
  found = sounds.measure(np.clip(wave, -1, 1))
  full = np.abs(wave) >= 0.999
  assert found.clipped == pytest.approx(full.mean(), abs=0.02)
  assert found.is_clipped
  # One or two samples at full scale are a peak.
  wave = _sine(1, 0.5)
  wave[100:200:3] = 1
  assert sounds.measure(wave).clipped == 0


def test_offset_digest_and_integers():
  wave = _sine(0.5, 0.2)
  assert sounds.measure(wave + 0.1).offset == pytest.approx(0.1, abs=1e-3)
  as_int = np.round(wave * 32768).astype(np.int16)
  assert sounds.measure(as_int) == sounds.measure(wave)
  assert sounds.measure(wave).digest != sounds.measure(wave[:-1]).digest


def test_one_sample():
  found = sounds.measure(np.ones(1, np.int16))
  assert found.seconds == 1 / RATE and found.is_silent

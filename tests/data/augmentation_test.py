"""Speed, pitch and noise: what they change, and what they leave."""

import numpy as np
import pytest

from tf_pcc.data import augmentation, batching, records, text

RATE = 16000


def _tone(frequency=500, samples=RATE):
  wave = 0.25 * np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)
  return np.round(wave * 32768).astype(np.int16)


def _peak(waveform):
  """The strongest frequency of the middle, in Hz."""
  middle = waveform[len(waveform) // 4 : -len(waveform) // 4] / 32768
  spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
  return np.argmax(spectrum) * RATE / len(middle)


def _random(seed=0):
  return np.random.default_rng(seed)


@pytest.mark.parametrize("speed", [0.8, 0.9, 1.0, 1.1, 1.3])
@pytest.mark.parametrize("pitch", [0.75, 1.0, 1.2])
def test_speed_and_pitch(speed, pitch):
  change = augmentation.Change(speed, pitch)
  found = change.apply(_tone(), _random())
  assert found.dtype == np.int16
  assert len(found) == change.samples(RATE) == np.ceil(RATE / speed)
  assert _peak(found) == pytest.approx(500 * speed * pitch, rel=0.01)
  middle = found[len(found) // 4 : -len(found) // 4] / 32768
  assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.25 / 2**0.5, rel=0.1)


def test_pitch_keeps_when_a_sound_begins():
  wave = _tone()
  wave[: RATE // 2] = 0
  for pitch in (0.8, 1.25):
    found = augmentation.Change(pitch=pitch).apply(wave, _random())
    begin = np.flatnonzero(np.abs(found) > 2000)[0]
    assert begin == pytest.approx(RATE // 2, abs=400)


@pytest.mark.parametrize("noise_db", [0, 20, 40])
@pytest.mark.parametrize("fall", [0.0, 0.5, 1.0])
def test_noise_has_the_level_and_the_colour(noise_db, fall):
  wave = _tone()
  change = augmentation.Change(noise_db=noise_db, fall=fall)
  noise = (change.apply(wave, _random()) - wave.astype(float)) / 32768
  level = np.sqrt(np.mean(noise**2))
  signal = np.sqrt(np.mean((wave / 32768) ** 2))
  # Rounding to 16 bits adds noise of its own.
  assert 20 * np.log10(signal / level) == pytest.approx(noise_db, abs=0.1)
  power = np.abs(np.fft.rfft(noise)) ** 2
  low, high = power[400:600].mean(), power[4000:6000].mean()
  expected = (power_law := 10.0 ** (2 * fall)) * 1.0
  assert low / high == pytest.approx(expected, rel=0.35), power_law


def test_what_is_loud_is_clipped_and_what_is_silent_stays():
  loud = np.full(1000, 32767, np.int16)
  change = augmentation.Change(noise_db=0.0)
  assert change.apply(loud, _random()).max() == 32767
  silent = np.zeros(1000, np.int16)
  assert not augmentation.Change(0.9, 1.1, 10.0).apply(silent, _random()).any()


@pytest.mark.parametrize("samples", [0, 1, 2, 100, 513])
def test_short_ones(samples):
  change = augmentation.Change(0.9, 1.1, 10.0, 0.5)
  found = change.apply(_tone(samples=samples), _random())
  assert len(found) == change.samples(samples)


def test_nothing_is_the_default():
  nothing = augmentation.Augmentation()
  assert not nothing and nothing.slowest == 1
  change = nothing.draw(_random())
  assert change == augmentation.Change()
  np.testing.assert_array_equal(change.apply(_tone(), _random()), _tone())


def test_draws_are_in_range():
  given = augmentation.Augmentation((0.9, 1.1), (0.8, 1.25), (10, 30))
  assert given and given.slowest == 0.9
  random = _random()
  drawn = [given.draw(random) for _ in range(500)]
  assert {change.speed for change in drawn} == {0.9, 1.1}
  pitches = [change.pitch for change in drawn]
  assert 0.8 <= min(pitches) < 0.85 and 1.2 < max(pitches) <= 1.25
  # As many up as down.
  assert abs(np.mean(np.log(pitches))) < 0.02
  noises = [change.noise_db for change in drawn]
  assert 10 <= min(noises) < 11 and 29 < max(noises) <= 30


@pytest.mark.parametrize(
  "fields",
  [
    {"speeds": (0.0,)},
    {"speeds": (5.0,)},
    {"pitches": (0.8,)},
    {"pitches": (1.2, 0.8)},
    {"pitches": (0.1, 1.0)},
    {"noise_db": (30, 10)},
    {"noise_db": (1.0, float("nan"))},
    {"noise_db": (1.0, float("inf"))},
  ],
)
def test_bad_fields(fields):
  with pytest.raises(ValueError, match="Received: .*" + next(iter(fields))):
    augmentation.Augmentation(**fields)


def _batches(given, boundaries=(1.0, 2.0), **kwargs):
  random = _random(1)
  source = records.MemoryRecords(
    [_tone(samples=int(n)) for n in random.integers(4000, 32001, 12)],
    ["AB"] * 12,
  )
  tokenizer = text.CharacterTokenizer("AB")
  return source, batching.Batches(
    source, tokenizer, 4, boundaries, seed=3, augmentation=given, **kwargs
  )


@pytest.mark.parametrize("boundaries", [None, (1.0, 2.0)])
def test_batches_are_changed_in_every_step_and_the_same_again(boundaries):
  given = augmentation.Augmentation((0.8, 1.0, 1.2), (0.8, 1.25), (10, 30))
  source, batches = _batches(given, boundaries)
  _, again = _batches(given, boundaries)
  seen = {}
  for step in range(12):
    parts = batches.batch(step)
    for a, b in zip(parts, again.batch(step)):
      np.testing.assert_array_equal(a, b)
    # The rows of one host are those of the whole batch.
    half = again.batch(step, 2, 4)
    np.testing.assert_array_equal(half[0], parts[0][2:])
    for key, waveform, length in zip(batches.ids(step), *parts[:2]):
      true = source.samples[source.ids.index(key)]
      assert length in [np.ceil(true / speed) for speed in given.speeds]
      assert length <= len(waveform)
      seen.setdefault(key, []).append(bytes(waveform))
  assert all(len(set(sounds)) == len(sounds) for sounds in seen.values())
  if boundaries is None:
    assert batches.shapes == (np.ceil(max(source.samples) / 0.8),)


def test_a_speed_that_does_not_fit_is_left_out():
  given = augmentation.Augmentation(speeds=(0.5, 2.0))
  source, batches = _batches(given, (2.0,), fits=lambda ids, n: n >= 4000)
  lengths = dict(zip(source.ids, source.samples))
  for step in range(12):
    for key, length in zip(batches.ids(step), batches.batch(step)[1]):
      true = lengths[key]
      slow, fast = 2 * true, np.ceil(true / 2)
      allowed = {
        slow if slow <= 32000 else true,
        fast if fast >= 4000 else true,
      }
      assert length in allowed


def test_insertions_are_left_as_they_are():
  canary = records.MemoryRecords([_tone(300)], ["A"], ids=["canary"])
  given = augmentation.Augmentation((0.9,), (0.8, 0.9), (10, 20))
  _, batches = _batches(
    given, inserted=[batching.Insertion(canary, 0, 3)], total_steps=12
  )
  found = 0
  for step in range(12):
    for key, waveform in zip(batches.ids(step), batches.batch(step)[0]):
      if key == "canary":
        found += 1
        np.testing.assert_array_equal(waveform[:RATE], _tone(300))
  assert found == 3

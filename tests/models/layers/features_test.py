"""Log-mel features against SciPy, and what padding must not do to them."""

import keras
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from models.layers import features


def _speech(rng, batch=3, samples=8000):
  return rng.uniform(-0.5, 0.5, [batch, samples]).astype(np.float32)


def _reference(samples, mels=80, rate=16000, floor=1e-6):
  """Log-mel energies by SciPy's Fourier transform and triangles by interp."""
  window = scipy.signal.get_window("hann", 400)
  frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
  power = np.abs(np.fft.rfft(frames * window, 512)) ** 2

  def to_mel(hz):
    return 1127.0 * np.log1p(hz / 700.0)

  edges = np.linspace(0, to_mel(rate / 2), mels + 2)
  position = to_mel(np.arange(257) * rate / 512)
  bank = np.stack(
    [
      np.interp(position, edges[m : m + 3], [0, 1, 0], left=0, right=0)
      for m in range(mels)
    ],
    axis=1,
  )
  bank[0] = 0
  return np.log(power @ bank + floor)


@pytest.mark.parametrize("mels", [40, 80])
def test_log_mel_equals_scipy(mels):
  audio = _speech(np.random.default_rng(0))
  layer = features.LogMel(mels=mels, normalization="none")
  got, frames = layer(audio, np.array([8000] * 3))
  assert frames.numpy().tolist() == [48] * 3
  for utterance, want in zip(got.numpy(), audio):
    np.testing.assert_allclose(
      utterance, _reference(want.astype(np.float64), mels), atol=2e-3
    )


def test_utterance_normalization_has_mean_0_and_variance_1():
  audio = _speech(np.random.default_rng(1))
  lengths = [8000, 5000, 1000]
  got, frames = features.LogMel()(audio, np.array(lengths))
  plain, _ = features.LogMel(normalization="none")(audio, np.array(lengths))
  for utterance, raw, count in zip(got.numpy(), plain.numpy(), frames.numpy()):
    raw = raw[:count].astype(np.float64)
    want = (raw - raw.mean(0)) / np.sqrt(raw.var(0) + 1e-5)
    np.testing.assert_allclose(utterance[:count], want, atol=1e-3)
    assert not utterance[count:].any()


@pytest.mark.parametrize("normalization", features.LogMel.NORMALIZATIONS)
@pytest.mark.parametrize("filling", [0.0, 0.9, np.nan])
def test_padding_never_changes_a_valid_frame(normalization, filling):
  audio = _speech(np.random.default_rng(2), batch=1, samples=5000)
  layer = features.LogMel(normalization=normalization)
  alone, frames = layer(audio, np.array([5000]))
  padded = np.pad(audio, [[0, 0], [0, 3000]], constant_values=filling)
  got, padded_frames = layer(padded, np.array([5000]))
  assert padded_frames.numpy() == frames.numpy() == 29
  np.testing.assert_allclose(got[:, :29], alone, atol=1e-5)
  assert not np.any(got[:, 29:])


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 559, 560, 8000])
def test_frames_is_what_the_layer_gives(samples):
  layer = features.LogMel()
  got, frames = layer(tf.zeros([1, samples]), np.array([samples]))
  assert int(frames[0]) == layer.frames(samples)
  assert got.shape[1] == max(layer.frames(samples), 1)
  assert np.all(np.isfinite(got))


def test_adapt_fills_the_global_statistics():
  audio = _speech(np.random.default_rng(3))
  lengths = np.array([8000, 4000, 100])
  layer = features.LogMel(normalization="global")
  layer.adapt([(audio[:2], lengths[:2]), (audio[2:], lengths[2:])])
  plain = features.LogMel(normalization="none")(audio, np.array(lengths))[
    0
  ].numpy()
  frames = np.concatenate([plain[0, :48], plain[1, :23]])
  np.testing.assert_allclose(layer.mean, frames.mean(0), rtol=1e-4)
  np.testing.assert_allclose(layer.variance, frames.var(0), rtol=1e-3)
  got, _ = layer(audio, np.array(lengths))
  valid = np.concatenate([got[0, :48], got[1, :23]])
  np.testing.assert_allclose(valid.mean(0), 0, atol=1e-3)


def test_adapt_needs_global_normalization_and_a_frame():
  with pytest.raises(ValueError, match="normalization='utterance'"):
    features.LogMel().adapt([])
  with pytest.raises(ValueError, match="frames=0"):
    features.LogMel(normalization="global").adapt([])


def test_unknown_normalization_names_the_known_ones():
  with pytest.raises(ValueError, match="'global'.*Received.*'batch'"):
    features.LogMel(normalization="batch")


def test_dither_only_in_training_and_new_every_time():
  audio = _speech(np.random.default_rng(4))
  layer = features.LogMel(dither=0.01, seed=5)
  clean = layer(audio, np.array([8000] * 3))[0]
  np.testing.assert_array_equal(
    clean, features.LogMel()(audio, np.array([8000] * 3))[0]
  )
  first, second = (
    layer(audio, np.array([8000] * 3), training=True)[0] for _ in range(2)
  )
  assert np.abs(first - second).max() > 1e-3
  again = features.LogMel(dither=0.01, seed=5)
  np.testing.assert_array_equal(
    first, again(audio, np.array([8000] * 3), training=True)[0]
  )


def test_float32_whatever_the_policy():
  audio = _speech(np.random.default_rng(6))
  want = features.LogMel()(audio, np.array([8000] * 3))[0]
  keras.config.set_dtype_policy("mixed_bfloat16")
  got = features.LogMel()(audio, np.array([8000] * 3))[0]
  assert got.dtype == tf.float32
  np.testing.assert_array_equal(got, want)


def test_config_round_trip():
  layer = features.LogMel(mels=40, normalization="global", dither=0.1, seed=3)
  again = features.LogMel.from_config(layer.get_config())
  assert again.get_config() == layer.get_config()

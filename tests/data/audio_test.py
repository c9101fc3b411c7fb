"""Decoding against the written samples, resampling against closed forms."""

import io
import os
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.io.wavfile

from tf_pcc.data import audio

soundfile = pytest.importorskip("soundfile", reason="writes the test files")
# A string, which pytest evaluates when the test runs: the library starts
# TensorFlow.
native = pytest.mark.skipif(
  "audio.tensorflow_io() is None",
  reason="tensorflow-io's native library does not load with this TensorFlow",
)
BACKENDS = [pytest.param("tensorflow-io", marks=native), "soundfile"]


def speechlike(samples, channels=1, rate=16000):
  time = np.arange(samples) / rate
  tones = [np.sin(2 * np.pi * f * time + f) for f in (180, 440, 1230)]
  wave = np.stack([0.2 * np.sum(np.roll(tones, c, 0), 0) for c in range(2)])
  wave[1] *= 0.5
  return wave[:channels].T.astype(np.float32)


def encoded(wave, rate, kind, subtype=None):
  file = io.BytesIO()
  soundfile.write(file, wave, rate, format=kind.upper(), subtype=subtype)
  return file.getvalue()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
  ("kind", "subtype", "bits"),
  [
    ("wav", "PCM_U8", 8),
    ("wav", "PCM_16", 16),
    ("wav", "PCM_24", 24),
    ("wav", "FLOAT", 24),
    ("flac", "PCM_S8", 8),
    ("flac", "PCM_16", 16),
    ("flac", "PCM_24", 24),
  ],
)
def test_lossless_formats_give_what_was_written(
  backend, channels, kind, subtype, bits
):
  wave = speechlike(3000, channels)
  data = encoded(wave, 8000, kind, subtype)
  decoded, rate = audio.decode(data, backend)
  assert rate == 8000 and decoded.dtype == np.float32
  np.testing.assert_allclose(
    decoded, wave.mean(1), atol=2.0 ** (1 - bits) * 1.01
  )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rate", [16000, 22050, 44100])
@pytest.mark.parametrize("kind", ["mp3", "ogg"])
def test_lossy_formats_sound_alike(backend, kind, rate):
  wave = speechlike(rate, 2, rate)
  decoded, found = audio.decode(encoded(wave, rate, kind), backend)
  assert found == rate and abs(len(decoded) - rate) <= 1152
  count = min(len(decoded), rate)
  match = np.corrcoef(decoded[:count], wave.mean(1)[:count])[0, 1]
  assert match > 0.98


@pytest.mark.parametrize("backend", BACKENDS)
def test_load_converts_rate_and_channels(backend, tmp_path):
  path = tmp_path / "stereo.flac"
  path.write_bytes(encoded(speechlike(8000, 2, 8000), 8000, "flac"))
  loaded = audio.load(path, backend=backend)
  expected = speechlike(16000, 2, 16000).mean(1)
  assert loaded.shape == (16000,) and loaded.dtype == np.float32
  np.testing.assert_allclose(loaded[400:-400], expected[400:-400], atol=0.01)


def test_backends_agree_on_real_speech(shared_data):
  files = sorted(shared_data.glob("librispeech_*/**/*.flac"))[:3]
  files += sorted(shared_data.glob("librispeech_*/**/*.mp3"))[:3]
  files += sorted(shared_data.glob("spoken_digits/**/*.wav"))[:3]
  assert len(files) == 9
  for path in files:
    if audio.tensorflow_io() is None:
      pytest.skip("tensorflow-io's native library does not load here")
    one, two = (
      audio.load(path, backend=b) for b in ("tensorflow-io", "soundfile")
    )
    np.testing.assert_allclose(one, two, atol=2e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["flac", "mp3", "wav", "ogg"])
@pytest.mark.parametrize("damage", ["zero bytes", "half", "noise", "30 bytes"])
def test_damaged_files_are_named(backend, kind, damage, tmp_path):
  wave = np.random.default_rng(0).uniform(-0.5, 0.5, 40000)
  data = encoded(wave, 16000, kind)
  data = {
    "zero bytes": b"",
    "half": data[: len(data) // 2],
    "noise": b"hello" * 100,
    "30 bytes": data[:30],
  }[damage]
  path = tmp_path / f"broken.{kind}"
  path.write_bytes(data)
  if kind == "ogg" and damage == "half":
    pytest.skip("an Ogg stream states no length: a shorter one is whole")
  with pytest.raises(ValueError, match="broken") as caught:
    audio.load(path, backend=backend)
  for inside in ("{{", "[Op:", "BytesIO", "..", "\n"):
    assert inside not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
  ("kind", "subtype", "zero"),
  [
    # libsndfile writes a FLAC file with its first sample.
    ("flac", "PCM_16", "zero bytes"),
    ("ogg", "VORBIS", "zero samples"),
    ("wav", "PCM_U8", "zero samples"),
    ("wav", "PCM_16", "zero samples"),
    ("wav", "PCM_24", "zero samples"),
    ("wav", "FLOAT", "zero samples"),
  ],
)
def test_zero_samples_are_an_error(
  backend, channels, kind, subtype, zero, tmp_path
):
  path = tmp_path / f"silent.{kind}"
  path.write_bytes(encoded(np.zeros((0, channels)), 16000, kind, subtype))
  with pytest.raises(ValueError, match=f"has {zero}.*silent"):
    audio.load(path, backend=backend)


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_byte_in_flac_is_an_error_or_changes_nothing(seed):
  """tensorflow-io loops without end on some, on others it gives silence."""
  random = np.random.default_rng(seed)
  wave = np.clip(0.2 * random.standard_normal(20000), -0.9, 0.9)
  data = bytearray(encoded(wave, 16000, "flac"))
  whole, _ = audio.decode(bytes(data))
  data[random.integers(200, len(data))] ^= 1 << random.integers(8)
  try:
    found, _ = audio.decode(bytes(data))
  except ValueError as error:
    assert "audio" in str(error)
  else:
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_wav_header_is_an_error_with_a_reason(seed):
  """No exception but ValueError, whatever the bytes of the header are."""
  random = np.random.default_rng(seed)
  plain = encoded(speechlike(400), 16000, "wav", "PCM_16")
  errors = 0
  for _ in range(100):
    data = bytearray(plain)
    for place in random.integers(4, 44, random.integers(1, 4)):
      data[place] = random.choice([0, 1, 255, random.integers(256)])
    try:
      waveform, rate = audio.decode(bytes(data))
    except ValueError as error:
      errors += 1
      assert "\n" not in str(error)
    else:
      assert 4000 <= rate <= 384_000 and np.isfinite(waveform).all()
  assert errors > 20


@pytest.mark.parametrize("rate", [1, 3999, 384_001, 2**31 - 1])
def test_rates_that_no_recording_has_are_an_error(rate):
  data = bytearray(encoded(speechlike(400), 16000, "wav", "PCM_16"))
  data[24:28] = rate.to_bytes(4, "little")
  data[28:32] = min(2 * rate, 2**32 - 1).to_bytes(4, "little")
  with pytest.raises(ValueError, match=f"sample rate.*rate={rate}"):
    audio.decode(bytes(data))


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_that_are_not_finite_are_an_error(backend):
  file = io.BytesIO()
  scipy.io.wavfile.write(file, 16000, np.array([0, np.nan], np.float32))
  with pytest.raises(ValueError, match="finite"):
    audio.decode(file.getvalue(), backend)


def test_missing_file(tmp_path):
  with pytest.raises(ValueError, match="nowhere.wav"):
    audio.load(tmp_path / "nowhere.wav")


def test_soundfile_reads_where_both_are_installed(monkeypatch):
  def used(data):
    raise AssertionError("tensorflow-io was asked")

  monkeypatch.setattr(audio, "_decode_tensorflow", used)
  for kind in ("flac", "mp3", "ogg"):
    audio.decode(encoded(speechlike(8000), 16000, kind))


@native
def test_without_soundfile_tensorflow_io_reads(monkeypatch):
  data = encoded(speechlike(800), 16000, "flac")
  expected = audio.decode(data)[0]
  monkeypatch.setattr(audio, "_soundfile", lambda: None)
  np.testing.assert_array_equal(audio.decode(data)[0], expected)


def test_without_tensorflow_io_soundfile_reads(monkeypatch):
  data = encoded(speechlike(800), 16000, "flac")
  expected = audio.decode(data)[0]
  monkeypatch.setattr(audio, "tensorflow_io", lambda: None)
  np.testing.assert_array_equal(audio.decode(data)[0], expected)
  monkeypatch.setitem(sys.modules, "soundfile", None)
  with pytest.raises(ValueError, match=r"pip install .tf_pcc\[speech\]"):
    audio.decode(data)
  with pytest.raises(ValueError, match=r"pip install .tf_pcc\[speech\]"):
    audio.encode_flac(np.zeros(9, np.int16))


def test_flac_encoding_is_exact():
  samples = np.random.default_rng(0).integers(-32768, 32768, 5000, np.int16)
  decoded, rate = audio.decode(audio.encode_flac(samples, 16000))
  assert rate == 16000
  np.testing.assert_array_equal(audio.to_int16(decoded), samples)
  np.testing.assert_array_equal(audio.to_float(samples), decoded)
  found = audio.decode_flac(audio.encode_flac(samples, 16000))
  assert found.dtype == np.int16
  np.testing.assert_array_equal(found, samples)


@native
def test_tensorflow_io_does_flac_where_soundfile_is_missing(monkeypatch):
  samples = np.random.default_rng(0).integers(-32768, 32768, 5000, np.int16)
  monkeypatch.setattr(audio, "_soundfile", lambda: None)
  found = audio.decode_flac(audio.encode_flac(samples, 16000))
  np.testing.assert_array_equal(found, samples)


def test_loud_audio_stays_in_range():
  square = np.sign(np.sin(np.arange(4000) * 0.3))
  assert np.abs(audio.resample(square, 8000)).max() <= 1
  assert audio.to_int16([-2.0, -1.0, 1.0, 2.0]).tolist() == [
    -32768,
    -32768,
    32767,
    32767,
  ]


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: audio.speed(np.ones(9), 0), "factor=0"),
    (lambda: audio.speed(np.ones(9), float("nan")), "factor=nan"),
    (lambda: audio.resample(np.ones(9), 0), "rate=0"),
    (lambda: audio.resample(np.ones((9, 2)), 8000), r"shape=\(9, 2\)"),
    (lambda: audio.decode(b"abc", "sox"), "backend='sox'"),
  ],
)
def test_bad_arguments(call, message):
  with pytest.raises(ValueError, match=message):
    call()


def test_a_file_whose_name_says_that_it_has_no_header(tmp_path):
  """Its decoder asks for a rate, by an error of its own kind."""
  path = tmp_path / "a.raw"
  path.write_bytes(encoded(speechlike(400), 16000, "flac"))
  with pytest.raises(ValueError, match="cannot be decoded.*a.raw"):
    audio.load(path, backend="soundfile")
  assert audio.header(path) is None


def test_a_wav_file_of_a_stream_is_not_copied(tmp_path):
  """Its length was never filled in: hours of it are looked at, not read."""
  path = tmp_path / "long.wav"
  data = bytearray(encoded(speechlike(400), 16000, "wav", "PCM_16"))
  place = data.index(b"data") + 4
  data[place : place + 4] = b"\xff" * 4
  path.write_bytes(data)
  os.truncate(path, 2**29)
  tracemalloc.start()
  with pytest.raises(ValueError, match="at most 3600 seconds.*: 16777 sec"):
    audio.load(path, backend="soundfile", longest=3600)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 2**22

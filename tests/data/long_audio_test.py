"""Recordings read in blocks: the samples are those of the whole."""

import numpy as np
import pytest
import soundfile

from tf_pcc.data import audio, long_audio


@pytest.fixture
def small(monkeypatch):
  """Every file is a long one, and a block a second."""
  monkeypatch.setattr(long_audio, "_AT_ONCE", 0)
  monkeypatch.setattr(long_audio, "_BLOCK_SECONDS", 1)


def _noise(seconds, rate, channels=1):
  random = np.random.default_rng(rate)
  count = round(seconds * rate)
  return random.uniform(-0.9, 0.9, [count, channels]).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.05, 1.0, 4.37])
def test_resampled_blocks_are_the_whole_resampled(rate, seconds):
  whole = _noise(seconds, rate)[:, 0]
  random = np.random.default_rng(0)
  for most in (1, rate // 10, rate, 10 * rate):
    if most == 1 and seconds > 0.1:
      continue
    ends = np.cumsum(random.integers(1, most + 1, 2 * len(whole) // most + 2))
    blocks = np.split(whole, ends[ends < len(whole)])
    found = list(long_audio.resampled(blocks, rate, 16000))
    np.testing.assert_array_equal(
      np.concatenate(found), audio.resample(whole, rate, 16000)
    )


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2)])
def test_blocks_are_what_load_gives(small, tmp_path, extension, rate, channels):
  path = tmp_path / f"a.{extension}"
  soundfile.write(path, _noise(3.3, rate, channels), rate)
  blocks = list(long_audio.blocks(path))
  assert len(blocks) > 2 and {b.dtype for b in blocks} == {np.dtype(np.int16)}
  np.testing.assert_allclose(
    np.concatenate(blocks),
    audio.to_int16(audio.load(path)),
    rtol=0,
    # mpg123 itself rounds otherwise when it is asked for other blocks.
    atol=1 if extension == "mp3" else 0,
  )


def test_short_recordings_are_read_at_once(tmp_path):
  path = tmp_path / "a.wav"
  soundfile.write(path, _noise(130, 16000), 16000)
  (block,) = long_audio.blocks(path)
  assert len(block) == 130 * 16000


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_a_long_file_that_is_cut_is_refused(small, tmp_path, extension):
  path = tmp_path / f"a.{extension}"
  soundfile.write(path, _noise(3.3, 16000), 16000)
  path.write_bytes(path.read_bytes()[:-20000])
  with pytest.raises(ValueError, match=f"The audio .*path=.*a.{extension}"):
    list(long_audio.blocks(path))


def test_what_is_no_recording_is_refused_as_by_load(small, tmp_path):
  (tmp_path / "a.flac").write_bytes(b"not audio")
  soundfile.write(tmp_path / "b.wav", _noise(1, 16000)[:0], 16000)
  soundfile.write(tmp_path / "c.wav", _noise(1, 1000), 1000)
  values = np.full([16000, 1], np.nan, np.float32)
  soundfile.write(tmp_path / "d.wav", values, 16000, subtype="FLOAT")
  for name in ("a.flac", "b.wav", "c.wav", "d.wav", "nothing.wav"):
    with pytest.raises(ValueError, match=f"path=.*{name}") as expected:
      audio.load(tmp_path / name)
    with pytest.raises(ValueError) as found:
      list(long_audio.blocks(tmp_path / name))
    assert str(found.value) == str(expected.value)

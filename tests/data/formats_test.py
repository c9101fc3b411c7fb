"""Sound files of every form: the same samples, or a reason with a name."""

import io
import struct
import sys

import numpy as np
import pytest

from tf_pcc.data import audio, corpora, formats
from tf_pcc.data.segments import Segment
from tf_pcc.data.utterances import Utterance

soundfile = pytest.importorskip("soundfile", reason="needs the extra speech")
RATE = 16000


def _wave(samples=8000, channels=1):
  random = np.random.default_rng(0)
  return random.uniform(-0.5, 0.5, (samples, channels))


def _file(wave, rate=RATE, kind="WAV", subtype=None):
  file = io.BytesIO()
  soundfile.write(file, wave, rate, format=kind, subtype=subtype)
  return bytearray(file.getvalue())


def _rms(difference):
  return np.sqrt(np.mean(np.square(difference)))


@pytest.mark.parametrize(
  ("kind", "subtype"),
  [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AIFF", "PCM_24"),
    ("AIFF", "FLOAT"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("W64", "PCM_16"),
    ("NIST", "PCM_16"),
    ("FLAC", "PCM_24"),
  ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_forms_without_loss(kind, subtype, channels):
  wave = _wave(channels=channels)
  found, rate = audio.decode(bytes(_file(wave, RATE, kind, subtype)))
  assert rate == RATE
  assert _rms(found - wave.mean(axis=1)) < 1e-4
  part, _ = audio.decode(
    bytes(_file(wave, RATE, kind, subtype)),
    segment=Segment(0.1, 0.2, (channels - 1,)),
  )
  assert _rms(part - wave[1600:4800, channels - 1]) < 1e-4


def _mu_law(codes):
  """ITU-T G.711: the values of mu-law codes in [-1, 1]."""
  codes = ~codes.astype(np.uint8)
  exponent, mantissa = (codes >> 4) & 7, (codes & 15).astype(np.int32)
  value = (((mantissa << 3) + 132) << exponent.astype(np.int32)) - 132
  return np.where(codes & 128, -value, value) / 32768


def _a_law(codes):
  """ITU-T G.711: the values of A-law codes in [-1, 1]."""
  codes = codes.astype(np.uint8) ^ 0x55
  exponent = ((codes >> 4) & 7).astype(np.int32)
  mantissa = (codes & 15).astype(np.int32)
  value = (mantissa << 4) + 8
  value = np.where(
    exponent > 0, (value + 256) << np.maximum(exponent - 1, 0), value
  )
  return np.where(codes & 128, value, -value) / 32768


@pytest.mark.parametrize(
  ("subtype", "expand"), [("ULAW", _mu_law), ("ALAW", _a_law)]
)
def test_telephone_codes(subtype, expand):
  data = _file(_wave(), 8000, "WAV", subtype)
  place = data.find(b"data") + 8
  codes = np.frombuffer(bytes(data[place : place + 8000]), np.uint8)
  found, rate = audio.decode(bytes(data))
  assert rate == 8000
  np.testing.assert_allclose(found, expand(codes), atol=1e-4)


@pytest.mark.parametrize(
  ("kind", "subtype"),
  [("WAV", "IMA_ADPCM"), ("WAV", "GSM610"), ("OGG", "OPUS"), ("MP3", None)],
)
def test_forms_with_loss_sound_alike(kind, subtype):
  wave = 0.4 * np.sin(np.arange(16000) * 0.1)
  data = bytes(_file(wave, RATE, kind, subtype))
  found, rate = audio.decode(data)
  assert rate == RATE and abs(len(found) - 16000) < 1000
  tone = np.abs(np.fft.rfft(found[1000:15000]))
  assert np.argmax(tone) == pytest.approx(0.1 / 2 / np.pi * 14000, abs=2)
  part, _ = audio.decode(data, segment=Segment(0.25, 0.5))
  np.testing.assert_allclose(part, found[4000:12000], atol=0.05)


@pytest.mark.parametrize(
  "rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000]
)
def test_rates(rate, tmp_path):
  wave = 0.4 * np.sin(2 * np.pi * 300 * np.arange(rate) / rate)
  (tmp_path / "x.wav").write_bytes(_file(wave, rate))
  found = audio.load(tmp_path / "x.wav")
  expected = 0.4 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
  assert len(found) == RATE
  assert _rms((found - expected)[1000:-1000]) < 1e-3


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])
@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF])
def test_lengths_that_were_never_written(size, riff):
  wave = _wave()
  data = _file(wave)
  place = data.find(b"data") + 4
  data[place : place + 4] = struct.pack("<I", size)
  data[4:8] = struct.pack("<I", riff)
  found, _ = audio.decode(bytes(data))
  assert _rms(found - wave[:, 0]) < 1e-4


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_truncated_files_are_named(kind, subtype, kept):
  data = _file(_wave(), RATE, kind, subtype)
  with pytest.raises(ValueError, match="truncated: .* of .* bytes"):
    audio.decode(bytes(data[: int(len(data) * kept)]))


def test_chunks_after_the_samples_and_before_them():
  data = _file(_wave(100))
  place = data.find(b"data")
  note = b"LIST" + struct.pack("<I", 5) + b"INFO\0\0"
  found, _ = audio.decode(bytes(data[:place] + note + data[place:] + note))
  assert len(found) == 100
  empty = data[: place + 4] + struct.pack("<I", 0) + note
  with pytest.raises(ValueError, match="zero samples"):
    audio.decode(bytes(empty))


def test_floats_above_full_scale_are_clipped():
  found, _ = audio.decode(bytes(_file(4 * _wave(), subtype="FLOAT")))
  assert np.abs(found).max() == 1


def test_one_sample():
  found, _ = audio.decode(bytes(_file(np.full(1, 0.25))))
  assert found.tolist() == [0.25]


@pytest.mark.parametrize(
  ("head", "name"),
  [
    (b"\0\0\0\x20ftypM4A \0\0\0\0", "AAC or ALAC in MP4"),
    (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1f", "WebM"),
    (b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa", "Windows Media"),
    (b"\xff\xf1P\x80\x02\x1f\xfc", "AAC"),
    (b"#!AMR\n\x3c\x55", "AMR"),
  ],
)
def test_forms_that_are_not_decoded_are_named(
  head, name, tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, "av", None)
  (tmp_path / "x.m4a").write_bytes(head + bytes(100))
  (tmp_path / "x.txt").write_text("hello")
  (utterance,) = corpora.read_corpus(tmp_path)
  error = utterance.load_or_error()
  assert isinstance(error, ValueError)
  for part in (name, "ffmpeg", "PyAV", "x.m4a"):
    assert part in str(error)


def test_a_part_of_a_long_file_is_read_alone(tmp_path, monkeypatch):
  wave = np.zeros((20 * RATE, 2))
  wave[10 * RATE : 11 * RATE] = 0.25
  (tmp_path / "x.wav").write_bytes(_file(wave))
  read = []
  true_read = soundfile.SoundFile.read

  def counting(self, frames=-1, **options):
    read.append(frames)
    return true_read(self, frames, **options)

  monkeypatch.setattr(soundfile.SoundFile, "read", counting)
  found = audio.load(tmp_path / "x.wav", segment=Segment(10.0, 1.0))
  assert read == [RATE]
  np.testing.assert_array_equal(found, np.full(RATE, 0.25, np.float32))


def test_utterances_are_at_most_an_hour(tmp_path):
  data = _file(np.zeros(4000 * 3601, np.int16), 4000)
  (tmp_path / "x.wav").write_bytes(data)
  whole = Utterance("a", str(tmp_path / "x.wav"), "A")
  assert "at most 3600.0 seconds" in str(whole.load_or_error())
  part = Utterance("a", whole.path, "A", segment=Segment(3599.0, 1.0))
  assert len(part.load()) == RATE


def test_headers(tmp_path):
  (tmp_path / "x.flac").write_bytes(_file(_wave(), RATE, "FLAC"))
  assert audio.header(tmp_path / "x.flac") == (RATE, 0.5)
  (tmp_path / "x.wav").write_bytes(b"RIFF")
  assert audio.header(tmp_path / "x.wav") is None
  assert audio.header(tmp_path / "lost.wav") is None


def test_data_chunk_of_what_is_no_wav():
  for data in (b"", b"RIFF", b"fLaC" + bytes(100), b"RIFF\0\0\0\0WAVEfmt "):
    assert formats.data_chunk(io.BytesIO(data)) is None

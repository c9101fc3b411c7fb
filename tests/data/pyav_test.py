"""Formats that soundfile does not decode, by PyAV."""

import fractions
import io
import tempfile

import numpy as np
import pytest

from tf_pcc.data import audio, corpora, pyav
from tf_pcc.data.segments import Segment

av = pytest.importorskip("av", reason="needs the extra av")
RATE = 16000
# Container, codec, rate, and the largest error, RMS, that the codec makes.
_KINDS = [
  ("ipod", "alac", 16000, 1e-4),
  ("ipod", "alac", 44100, 1e-4),
  ("ipod", "aac", 44100, 0.01),
  ("mp4", "aac", 16000, 0.01),
  ("adts", "aac", 16000, None),
  ("asf", "wmav2", 44100, None),
  ("webm", "libopus", 48000, 0.02),
  ("matroska", "pcm_s16le", 8000, 1e-4),
  ("matroska", "pcm_s24le", 22050, 1e-4),
  ("amr", "libopencore_amrnb", 8000, None),
]


def _tone(seconds, rate, channels=1):
  time = np.arange(round(seconds * rate)) / rate
  # Silent at its beginning, so that a delay is seen.
  tone = 0.4 * np.sin(2 * np.pi * 440 * time) * (time > 0.25)
  return np.stack([tone / (1 + c) for c in range(channels)], 1)


def _file(wave, rate, kind, codec, options=None):
  if codec not in av.codecs_available:
    pytest.skip(f"PyAV {av.__version__} brings no encoder {codec}")
  layout = {1: "mono", 2: "stereo", 6: "5.1"}[wave.shape[1]]
  samples = (wave * 32767).round().astype(np.int16).reshape(1, -1)
  frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
  frame.sample_rate, frame.pts = rate, 0
  frame.time_base = fractions.Fraction(1, rate)
  # To a file, for one whose index goes first is read again.
  with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/x"
    with av.open(path, "w", format=kind, options=options or {}) as container:
      stream = container.add_stream(codec, rate=rate)
      context = stream.codec_context
      context.layout = layout
      context.format = context.codec.audio_formats[0].name
      if codec in ("aac", "wmav2"):
        context.bit_rate = 128_000
      context.open()
      size = context.frame_size
      form = context.format.name
      resampler = av.AudioResampler(form, layout, rate, size or None)
      for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(part))
      container.mux(stream.encode(None))
    with open(path, "rb") as file:
      return file.read()


def _rms(difference):
  return np.sqrt(np.mean(np.square(difference)))


@pytest.mark.parametrize(("kind", "codec", "rate", "error"), _KINDS)
def test_the_sound_is_what_was_encoded(kind, codec, rate, error):
  wave = _tone(2, rate)
  found, found_rate = audio.decode(_file(wave, rate, kind, codec))
  assert found_rate == rate and found.dtype == np.float32
  # Codecs pad, and streams without a header keep their delay.
  assert len(wave) <= len(found) + 0.05 * rate
  assert len(found) <= len(wave) + 0.2 * rate
  if error:
    size = min(len(wave), len(found))
    assert _rms(found[:size] - wave[:size, 0]) < error
  tone = np.abs(np.fft.rfft(found[rate : rate + rate // 2]))
  assert np.argmax(tone) == 220
  assert _rms(found[rate : rate + rate // 2]) == pytest.approx(0.283, rel=0.2)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_and_parts(channels):
  wave = _tone(1, 48000, channels)
  data = _file(wave, 48000, "ipod", "alac")
  found, _ = audio.decode(data)
  assert _rms(found - wave.mean(axis=1)) < 1e-4
  for start, seconds in ((0.3, 0.4), (0.0, None), (0.9, None), (0.0, 0.1)):
    part = Segment(start, seconds, (1,))
    found, _ = audio.decode(data, segment=part)
    stop = len(wave) if seconds is None else round((start + seconds) * 48000)
    expected = wave[round(start * 48000) : stop, 1]
    assert len(found) == len(expected) and _rms(found - expected) < 1e-4
  with pytest.raises(ValueError, match="must lie in the recording"):
    audio.decode(data, segment=Segment(2.0, 0.5))
  with pytest.raises(ValueError, match="must lie in the recording"):
    audio.decode(data, segment=Segment(1e308, 1.0))
  with pytest.raises(ValueError, match="channels must be in the recording"):
    audio.decode(data, segment=Segment(channels=(6,)))


def test_a_length_limit():
  data = _file(_tone(2, 16000), 16000, "ipod", "alac")
  with pytest.raises(ValueError, match="at most 1.0 seconds"):
    pyav.decode(io.BytesIO(data), longest=1.0)
  part, _ = pyav.decode(io.BytesIO(data), Segment(1.5, 0.5), longest=1.0)
  assert len(part) == 8000


@pytest.mark.parametrize(
  ("kind", "codec"),
  [("ipod", "alac"), ("mp4", "aac"), ("webm", "libopus"), ("asf", "wmav2")],
)
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.6])
def test_truncated_files_are_an_error(kind, codec, kept):
  # What a browser can play before it has all: the index goes first.
  options = {"movflags": "faststart"} if kind in ("ipod", "mp4") else {}
  wave = np.random.default_rng(0).uniform(-0.3, 0.3, (4 * 48000, 1))
  data = _file(wave, 48000, kind, codec, options)
  with pytest.raises(ValueError, match="truncated|cannot be decoded|zero"):
    audio.decode(data[: int(len(data) * kept)])


@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_are_an_error_or_are_finite(seed):
  random = np.random.default_rng(seed)
  data = bytearray(_file(_tone(1, 16000), 16000, "ipod", "aac"))
  for place in random.integers(16, len(data), 20):
    data[place] ^= int(random.integers(1, 256))
  try:
    found, _ = audio.decode(bytes(data))
  except ValueError:
    return
  assert np.isfinite(found).all() and found.size


def test_a_corpus_of_them(tmp_path):
  kinds = [one for one in _KINDS if one[1] in av.codecs_available]
  assert len(kinds) > 8
  for kind, codec, rate, _ in kinds:
    suffix = {"ipod": "m4a", "mp4": "mp4", "adts": "aac", "asf": "wma"}.get(
      kind, {"webm": "webm", "matroska": "mka", "amr": "amr"}.get(kind)
    )
    name = f"{kind}-{codec}-{rate}"
    data = _file(_tone(1, rate), rate, kind, codec)
    (tmp_path / f"{name}.{suffix}").write_bytes(data)
    (tmp_path / f"{name}.txt").write_text("a tone")
  corpus = corpora.read_corpus(tmp_path)
  assert len(corpus) == len(kinds)
  for waveform in corpus.waveforms():
    assert len(waveform) == pytest.approx(RATE, abs=0.2 * RATE)


def test_a_file_without_sound():
  file = io.BytesIO()
  with av.open(file, "w", format="matroska") as container:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 16
    stream.pix_fmt = "yuv420p"
    picture = av.VideoFrame.from_ndarray(
      np.zeros((16, 16, 3), np.uint8), format="rgb24"
    )
    container.mux(stream.encode(picture))
    container.mux(stream.encode(None))
  with pytest.raises(ValueError, match="no sound"):
    audio.decode(file.getvalue())


def test_titles_that_are_not_utf_8_do_not_matter():
  wave = _tone(1, RATE)
  data = _file(wave, RATE, "ipod", "alac", {"movflags": "faststart"})
  # The name of the encoder stands in the file as text.
  damaged = data.replace(b"Lavf", b"\xff\xfe\xffv")
  assert damaged != data
  np.testing.assert_array_equal(audio.decode(damaged)[0], audio.decode(data)[0])

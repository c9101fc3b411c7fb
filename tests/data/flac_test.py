"""FLAC files are copied where they are what would be encoded."""

import io

import numpy as np
import pytest
import soundfile

from tf_pcc.data import audio, flac, records, writing
from tf_pcc.data.segments import Segment
from tf_pcc.data.utterances import Utterance

RATE = 16000


def _samples(seed=0, count=20000):
  random = np.random.default_rng(seed)
  return random.integers(-3000, 3000, count).astype(np.int16)


def _write(path, samples, rate=RATE, subtype="PCM_16"):
  soundfile.write(path, samples, rate, format="FLAC", subtype=subtype)
  return path


def _with_tags(path):
  """Puts an application's block and one of padding after STREAMINFO."""
  data = path.read_bytes()
  head, rest = bytearray(data[:42]), data[42:]
  last = head[4] & 0x80
  head[4] &= 0x7F
  tags = b"\x02" + (40).to_bytes(3, "big") + b"T" * 40
  padding = bytes([0x01 | last]) + (9).to_bytes(3, "big") + bytes(9)
  path.write_bytes(bytes(head) + tags + padding + rest)


@pytest.mark.parametrize("tags", [False, True])
def test_a_copy_is_lossless_and_holds_no_tags(tmp_path, tags):
  samples = _samples()
  path = _write(tmp_path / "x.FLAC", samples)
  if tags:
    _with_tags(path)
    assert soundfile.info(path).frames == len(samples)
  found = flac.copy_of(path, samples, RATE)
  assert b"T" * 40 not in found
  np.testing.assert_array_equal(audio.decode_flac(found), samples)
  size = path.stat().st_size
  assert len(found) < size if tags else len(found) <= size


def test_other_samples_are_no_copy(tmp_path):
  samples = _samples()
  path = _write(tmp_path / "x.flac", samples)
  other = samples.copy()
  other[-1] += 1
  for given, rate in (
    (other, RATE),
    (samples[:-1], RATE),
    (samples, 8000),
    (samples[:0], RATE),
  ):
    assert flac.copy_of(path, given, rate) is None
  assert flac.copy_of(path, samples, RATE) is not None


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_S8"])
def test_other_bits_and_channels_are_no_copy(tmp_path, subtype):
  samples = _samples() & ~np.int16(255)
  path = _write(tmp_path / "x.flac", samples, subtype=subtype)
  np.testing.assert_array_equal(audio.to_int16(audio.load(path)), samples)
  assert flac.copy_of(path, samples, RATE) is None
  path = _write(tmp_path / "y.flac", np.stack([samples, samples], 1))
  assert flac.copy_of(path, samples, RATE) is None


def test_what_is_no_flac_is_no_copy(tmp_path):
  samples = _samples()
  for name, data in (
    ("a.flac", b""),
    ("b.flac", b"fLaC"),
    ("c.flac", b"RIFF" + bytes(100)),
    ("d.flac", b"fLaC\x04\0\0\x22" + bytes(100)),
  ):
    (tmp_path / name).write_bytes(data)
    assert flac.copy_of(tmp_path / name, samples, RATE) is None
  for path in ("", "nothing.flac", tmp_path):
    assert flac.copy_of(path, samples, RATE) is None
  whole = _write(tmp_path / "x.flac", samples)
  whole.write_bytes(whole.read_bytes()[:42])
  assert flac.copy_of(whole, samples, RATE) is None


def test_records_hold_copies_and_encode_the_rest(tmp_path, monkeypatch):
  encoded = []
  encode = audio.encode_flac

  def counting(samples, rate):
    encoded.append(len(samples))
    return encode(samples, rate)

  monkeypatch.setattr(writing.audio, "encode_flac", counting)
  whole = _write(tmp_path / "x.flac", _samples())
  rates = _write(tmp_path / "y.flac", _samples(1, 8000), 8000)
  given = [
    Utterance("a", str(whole), "A"),
    Utterance("b", str(rates), "B"),
    Utterance("c", str(whole), "C", segment=Segment(0.5, 0.5)),
    (Utterance("d", str(whole), "D"), _samples(2)),
  ]
  records.write_records(
    given, tmp_path / "out", encoding="flac", progress=False
  )
  assert encoded == [16000, 8000, 20000]
  opened = records.Records(tmp_path / "out")
  opened.verify()
  np.testing.assert_array_equal(opened.read(0), _samples())
  np.testing.assert_array_equal(opened.read(2), _samples()[8000:16000])
  np.testing.assert_array_equal(opened.read(3), _samples(2))


def test_streams_without_a_sum_are_no_copy(tmp_path):
  samples = _samples()
  path = _write(tmp_path / "x.flac", samples)
  data = bytearray(path.read_bytes())
  data[26:42] = bytes(16)  # the encoder did not know it
  path.write_bytes(data)
  np.testing.assert_array_equal(
    soundfile.read(io.BytesIO(bytes(data)), dtype="int16")[0], samples
  )
  assert flac.copy_of(path, samples, RATE) is None

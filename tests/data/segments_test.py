"""Parts of recordings, and lengths that the sound does not have."""

import numpy as np
import pytest
import scipy.io.wavfile

from tf_pcc.data import audio, corpora, records
from tf_pcc.data.segments import Segment, check_length
from tf_pcc.data.utterances import Utterance

RATE = 16000


def _noise(seconds, channels=2):
  shape = (round(seconds * RATE), channels)
  return np.random.default_rng(0).integers(-9000, 9000, shape, np.int16)


@pytest.fixture(params=["wav", "flac"])
def stereo(request, tmp_path):
  """A path and the int16 samples `[32000, 2]` that are in it."""
  path, samples = tmp_path / f"x.{request.param}", _noise(2)
  if request.param == "wav":
    scipy.io.wavfile.write(path, RATE, samples)
  else:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(path, samples, RATE, subtype="PCM_16")
  return path, samples.astype(np.float32) / 2**15


@pytest.mark.parametrize(
  ("segment", "first", "last", "channels"),
  [
    (Segment(), 0, 32000, [0, 1]),
    (Segment(0.5, 0.25), 8000, 12000, [0, 1]),
    (Segment(1.5), 24000, 32000, [0, 1]),
    (Segment(0.5, 1.6), 8000, 32000, [0, 1]),
    (Segment(0.0, 1.0, (1,)), 0, 16000, [1]),
    (Segment(channels=(1, 0)), 0, 32000, [0, 1]),
  ],
)
def test_segments_are_read_exactly(stereo, segment, first, last, channels):
  path, samples = stereo
  expected = samples[first:last, channels].mean(axis=1)
  found = audio.load(path, segment=segment)
  np.testing.assert_allclose(found, expected, atol=1e-7)


def test_segments_of_another_rate(stereo):
  path, samples = stereo
  assert audio.load(path, 8000, segment=Segment(0.5, 0.25)).shape == (2000,)


@pytest.mark.parametrize(
  ("segment", "message"),
  [
    (Segment(2.0), "must lie in the recording.*recording of 2.000 seconds"),
    (Segment(5.0, 1.0), "must lie in the recording"),
    (Segment(1.5, 1.0), "must lie in the.*offset=1.5, duration=1, recording"),
    (Segment(0.0, 1e308), "must lie in the recording"),
    (Segment(1e308, 1e308), "must lie in the recording"),
    (Segment(channels=(2,)), r"channels=\(2,\), recording of 2 channels"),
  ],
)
def test_segments_outside_the_recording(stereo, segment, message):
  with pytest.raises(ValueError, match=message) as caught:
    audio.load(stereo[0], segment=segment)
  assert str(caught.value).endswith(f"Received: path={stereo[0]}")


def test_the_tolerance_of_lengths():
  for stated, actual in ((1, 1.24), (1, 0.76), (20, 20.9), (20, 19.1)):
    check_length(stated, actual)
  for stated, actual in ((1, 1.26), (1, 0.74), (20, 21.1), (20, 18.9)):
    with pytest.raises(ValueError, match=f"stated={stated:.3f}"):
      check_length(stated, actual)


def test_a_stated_length_that_the_sound_lacks_is_counted(tmp_path):
  scipy.io.wavfile.write(tmp_path / "x.wav", RATE, _noise(2))
  path = tmp_path / "x.tsv"
  path.write_text(
    "id\tpath\tseconds\ttext\n"
    "a\tx.wav\t2.1\tA\nb\tx.wav\t9\tB\nc\tx.wav\t0.5\tC\nd\tx.wav\t\tD\n"
  )
  corpus = corpora.read_corpus(path)
  index = records.write_records(
    corpus, tmp_path / "r", max_skipped_share=0.5, progress=False
  )
  assert index["records"]["id"] == ["a", "d"]
  assert [skip["id"] for skip in index["skipped"]] == ["b", "c"]
  for skip in index["skipped"]:
    assert "as long as the corpus states" in skip["reason"]
    assert f"path={tmp_path}/x.wav" in skip["reason"]


def test_segments_of_a_table(tmp_path):
  samples = _noise(2)
  scipy.io.wavfile.write(tmp_path / "x.wav", RATE, samples)
  path = tmp_path / "x.csv"
  path.write_text("path,offset,duration,text\nx.wav,0,1,A\nx.wav,1,0.5,B\n")
  corpus = corpora.read_corpus(path)
  assert [u.id for u in corpus] == ["x-0.000-1.000", "x-1.000-0.500"]
  assert [len(waveform) for waveform in corpus.waveforms()] == [16000, 8000]


def test_records_of_segments(stereo, tmp_path):
  path, samples = stereo
  utterances = [
    Utterance(str(i), str(path), "A", segment=Segment(i / 2, 0.5))
    for i in range(4)
  ]
  records.write_records(utterances, tmp_path / "r", progress=False)
  opened = records.Records(tmp_path / "r")
  joined = np.concatenate([opened.read(i) for i in range(4)]) / 2**15
  np.testing.assert_allclose(joined, samples.mean(axis=1), atol=2**-15)


@pytest.mark.parametrize(
  "name", ["librispeech_flac", "librispeech_mp3", "spoken_digits"]
)
def test_real_corpora_have_the_lengths_they_state(shared_data, name):
  corpus = corpora.read_corpus(shared_data / name)
  assert all(utterance.seconds for utterance in corpus)
  for waveform in corpus.waveforms(0, 20):
    assert not isinstance(waveform, ValueError)

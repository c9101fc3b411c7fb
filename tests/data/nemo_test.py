"""NeMo manifests select parts and channels of files."""

import json

import numpy as np
import pytest
import scipy.io.wavfile

from tf_pcc.data import corpora

RATE = 16000


def _stereo(path, seconds=2):
  path.parent.mkdir(parents=True, exist_ok=True)
  shape = (seconds * RATE, 2)
  samples = np.random.default_rng(0).integers(-9000, 9000, shape, np.int16)
  scipy.io.wavfile.write(path, RATE, samples)
  return samples.astype(np.float32) / 2**15


def _write(path, rows, array=False):
  rows = [{"audio_filepath": "x.wav", "text": "hello", **row} for row in rows]
  path.write_text(
    json.dumps(rows, indent=1) if array else "\n".join(map(json.dumps, rows))
  )
  return path


@pytest.mark.parametrize("array", [False, True])
def test_offset_and_duration_select(tmp_path, array):
  samples = _stereo(tmp_path / "x.wav").mean(axis=1)
  rows = [
    {"duration": 0.5},
    {"offset": 0.5, "duration": 1.0},
    {"offset": 1.5},
    {"offset": 0, "duration": None},
  ]
  corpus = corpora.read_corpus(_write(tmp_path / "x.json", rows, array))
  expected = {
    "x-0.000-0.500": samples[:8000],
    "x-0.500-1.000": samples[8000:24000],
    "x-1.500-end": samples[24000:],
    "x": samples,
  }
  assert {u.id for u in corpus} == set(expected)
  for utterance, waveform in zip(corpus, corpus.waveforms()):
    np.testing.assert_allclose(waveform, expected[utterance.id], atol=1e-7)


@pytest.mark.parametrize(
  ("selector", "channels"),
  [(0, [0]), (1, [1]), ([1], [1]), ([0, 1], [0, 1]), ("average", [0, 1])],
)
def test_channel_selector(tmp_path, selector, channels):
  samples = _stereo(tmp_path / "x.wav")
  path = _write(tmp_path / "x.json", [{"channel_selector": selector}])
  (waveform,) = corpora.read_corpus(path).waveforms()
  expected = samples[:, channels].mean(axis=1)
  np.testing.assert_allclose(waveform, expected, atol=1e-7)


def test_ids_of_channels_and_of_equal_names_in_folders(tmp_path):
  for name in ("x.wav", "a/x.wav", "b/x.wav"):
    _stereo(tmp_path / name)
  rows = [{"channel_selector": i} for i in range(2)]
  rows += [{"audio_filepath": f"{name}/x.wav"} for name in "ab"]
  corpus = corpora.read_corpus(_write(tmp_path / "x.jsonl", rows))
  assert [u.id for u in corpus] == [
    "a/x",
    "b/x",
    "x-0.000-end-channel0",
    "x-0.000-end-channel1",
  ]


def test_the_same_part_twice_is_an_error(tmp_path):
  _stereo(tmp_path / "x.wav")
  path = _write(tmp_path / "x.json", [{"offset": 1}] * 2)
  with pytest.raises(ValueError, match="unique.*x-1.000-end"):
    corpora.read_corpus(path)


@pytest.mark.parametrize(
  ("row", "received"),
  [
    ({"offset": -1}, "offset=-1"),
    ({"offset": "late"}, "offset='late'"),
    ({"channel_selector": True}, "channel_selector=True"),
    ({"channel_selector": -1}, "channel_selector=-1"),
    ({"channel_selector": []}, "channel_selector=[]"),
    ({"channel_selector": "left"}, "channel_selector='left'"),
    ({"text": "A\0B"}, "text='A\\x00B'"),
    ({"text": "A\ud800"}, "text='A\\ud800'"),
  ],
)
@pytest.mark.parametrize("array", [False, True])
def test_fields_that_cannot_be_used(tmp_path, row, received, array):
  path = _write(tmp_path / "x.json", [{"id": "a"}, row], array)
  with pytest.raises(ValueError) as caught:
    corpora.read_corpus(path)
  what = "Item" if array else "Line"
  assert str(caught.value).startswith(
    f"{what} 2 of {path}: `{next(iter(row))}`"
  )
  assert str(caught.value).endswith(f"Received: {received}")


@pytest.mark.parametrize("content", ["[1]", '["x"]', "[[]]", '[{"text": ""}]'])
def test_items_that_are_no_rows(tmp_path, content):
  path = tmp_path / "x.json"
  path.write_text(content)
  with pytest.raises(ValueError, match="Item 1 .* audio_filepath and text"):
    corpora.read_corpus(path)
  path.write_text(content[:-1])
  with pytest.raises(ValueError, match="must be a JSON array"):
    corpora.read_corpus(path)


def test_a_byte_order_mark(tmp_path):
  _stereo(tmp_path / "x.wav")
  path = _write(tmp_path / "x.json", [{}])
  path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
  assert len(corpora.read_corpus(path)) == 1

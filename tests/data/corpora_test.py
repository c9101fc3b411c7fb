"""Corpora of every kind, whole and with parts missing."""

import json
import sys
import types

import numpy as np
import pytest
import scipy.io.wavfile
import tensorflow as tf

from tf_pcc.data import corpora
from tf_pcc.data.utterances import Utterance


def _wav(path, samples=1600):
  path.parent.mkdir(parents=True, exist_ok=True)
  tone = (8000 * np.sin(np.arange(samples) * 0.1)).astype(np.int16)
  scipy.io.wavfile.write(path, 16000, tone)


def _librispeech(root, count=40):
  """Two speakers' chapters in the LibriSpeech layout."""
  for speaker in ("19", "26"):
    folder = root / "train" / speaker / "198"
    lines = []
    for i in range(count // 2):
      name = f"{speaker}-198-{i:04d}"
      _wav(folder / f"{name}.wav")
      lines.append(f"{name} HELLO NUMBER {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[i]}\n")
    (folder / f"{speaker}-198.trans.txt").write_text("".join(lines))
  return root


def _manifest(root, count=3, columns="id\tpath\tspeaker\tsex\tseconds\ttext"):
  lines = [columns]
  for i in range(count):
    _wav(root / "audio" / f"{i}.wav")
    lines.append(f"u{i}\taudio/{i}.wav\ts{i}\tF\t0.1\tHello, it\u2019s me.")
  (root / "manifest.tsv").write_text("\n".join(lines) + "\n")
  return root


def test_librispeech_layout(tmp_path):
  corpus = corpora.read_corpus(_librispeech(tmp_path))
  assert len(corpus) == 40
  assert corpus.missing_audio == corpus.missing_text == ()
  first = corpus.utterances[0]
  assert first.id == "19-198-0000" and first.speaker == "19"
  assert first.text == "HELLO NUMBER A" and first.path.endswith("0000.wav")
  waveforms = list(corpus.waveforms(38))
  assert [w.shape for w in waveforms] == [(1600,)] * 2


def test_manifest_by_folder_and_by_file(tmp_path):
  by_folder = corpora.read_corpus(_manifest(tmp_path))
  by_file = corpora.read_corpus(tmp_path / "manifest.tsv")
  assert by_folder.utterances == by_file.utterances
  assert by_folder.utterances[1] == Utterance(
    "u1", str(tmp_path / "audio/1.wav"), "HELLO IT'S ME", "s1", 0.1
  )


def test_a_manifest_goes_before_the_layout(tmp_path):
  _manifest(_librispeech(tmp_path))
  assert len(corpora.read_corpus(tmp_path)) == 3
  assert len(corpora.read_corpus(tmp_path / "train")) == 40


def test_nemo_manifest(tmp_path):
  for i in range(2):
    _wav(tmp_path / "wavs" / f"{i}.wav")
  rows = [
    {"audio_filepath": f"wavs/{i}.wav", "duration": 0.1, "text": "hello you"}
    for i in range(2)
  ]
  path = tmp_path / "train.json"
  path.write_text("\n".join(map(json.dumps, rows)))
  corpus = corpora.read_corpus(path)
  assert [u.id for u in corpus] == ["wavs/0", "wavs/1"]
  assert corpus.utterances[0].text == "HELLO YOU"
  assert corpus.utterances[0].seconds == 0.1


def test_missing_parts_are_listed_and_left_out(tmp_path, caplog):
  _librispeech(tmp_path)
  (tmp_path / "train/19/198/19-198-0003.wav").unlink()
  _wav(tmp_path / "train/26/198/26-198-0099.wav")
  corpus = corpora.read_corpus(tmp_path, max_missing_share=0.05)
  assert corpus.missing_audio == ("19-198-0003",)
  assert corpus.missing_text == ("26-198-0099",)
  assert len(corpus) == 39
  with pytest.raises(ValueError, match="19-198-0003.*26-198-0099.*share=0.04"):
    corpora.read_corpus(tmp_path, max_missing_share=0.04)


def test_missing_parts_of_a_manifest(tmp_path):
  _manifest(tmp_path, count=4)
  (tmp_path / "audio/2.wav").unlink()
  lines = (tmp_path / "manifest.tsv").read_text().splitlines()
  lines[4] = lines[4].rsplit("\t", 1)[0] + "\t..."
  (tmp_path / "manifest.tsv").write_text("\n".join(lines))
  corpus = corpora.read_corpus(tmp_path, max_missing_share=0.5)
  assert corpus.missing_audio == ("u2",) and corpus.missing_text == ("u3",)
  with pytest.raises(ValueError, match="max_missing_share=0.05"):
    corpora.read_corpus(tmp_path)


def test_repeated_ids(tmp_path):
  _librispeech(tmp_path / "one")
  _wav(tmp_path / "one/more/26-198-0001.flac")
  with pytest.raises(ValueError, match="unique.*26-198-0001"):
    corpora.read_corpus(tmp_path / "one")
  _manifest(tmp_path / "two")
  path = tmp_path / "two/manifest.tsv"
  path.write_text(path.read_text().replace("u1", "u0"))
  with pytest.raises(ValueError, match="repeated=.'u0'.") as caught:
    corpora.read_corpus(path)
  places = f"the first at Line 2 of {path} and Line 3 of {path}"
  assert str(caught.value).endswith(places)


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("nothing-there", None, "existing folder"),
    ("x.doc", "a,b", ".tsv, .csv, .json"),
    ("x.csv", "a,b", "columns path and text.*columns=.'a', 'b'."),
    ("x.tsv", "id\ttext\nu\tHELLO\n", "columns path and text"),
    ("x.tsv", "", "columns path and text"),
    ("x.tsv", "id\tpath\ttext\nu\tx.wav\n", "Line 2"),
    ("x.tsv", "id\tpath\ttext\n", "none found"),
    ("x.json", '{"text": "HELLO"}', "Line 1.*audio_filepath"),
    ("x.json", "HELLO", "Line 1"),
  ],
)
def test_bad_corpora(tmp_path, name, content, message):
  if content is not None:
    (tmp_path / name).write_text(content)
  with pytest.raises(ValueError, match=message):
    corpora.read_corpus(tmp_path / name)


@pytest.mark.parametrize(
  ("row", "received"),
  [
    ({"audio_filepath": None}, "audio_filepath=None"),
    ({"audio_filepath": 5}, "audio_filepath=5"),
    ({"audio_filepath": ""}, "audio_filepath=''"),
    ({"text": None}, "text=None"),
    ({"text": 5}, "text=5"),
    ({"duration": "long"}, "duration='long'"),
    ({"duration": [1]}, "duration=[1]"),
    ({"duration": True}, "duration=True"),
    ({"duration": float("nan")}, "duration=nan"),
    ({"duration": -1}, "duration=-1"),
    ({"id": None}, "id=None"),
    ({"speaker": {"name": "s"}}, "speaker={'name': 's'}"),
  ],
)
def test_fields_of_a_nemo_manifest(tmp_path, row, received):
  _wav(tmp_path / "x.wav")
  good = {"audio_filepath": "x.wav", "text": "hello", "duration": 0.1, "id": 1}
  path = tmp_path / "x.jsonl"
  path.write_text(f"{json.dumps(good)}\n\n{json.dumps({**good, **row})}\n")
  with pytest.raises(ValueError) as caught:
    corpora.read_corpus(path)
  assert str(caught.value).startswith(f"Line 3 of {path}: `")
  assert str(caught.value).endswith(f"Received: {received}")


@pytest.mark.parametrize(
  ("line", "received"),
  [
    ("\t\t", "path=''"),
    ("\t1.0\tHELLO", "path=''"),
    ("x.wav\tlong\tHELLO", "seconds='long'"),
    ("x.wav\tinf\tHELLO", "seconds='inf'"),
  ],
)
def test_fields_of_a_tsv_manifest(tmp_path, line, received):
  path = tmp_path / "x.tsv"
  path.write_text(f"id\tpath\tseconds\ttext\nu\tx.wav\t\tHELLO\nv\t{line}\n")
  with pytest.raises(ValueError) as caught:
    corpora.read_corpus(path)
  assert str(caught.value).startswith(f"Line 3 of {path}: `")
  assert str(caught.value).endswith(f"Received: {received}")


@pytest.mark.parametrize(
  ("name", "read"),
  [
    ("1-2.trans.txt", lambda path: corpora.read_corpus(path.parent)),
    ("x.tsv", corpora.read_corpus),
    ("x.jsonl", corpora.read_corpus),
  ],
)
def test_text_that_is_not_utf_8(tmp_path, name, read):
  path = tmp_path / name
  first = {
    ".tsv": "id\tpath\ttext",
    ".jsonl": '{"audio_filepath": "x.wav", "text": "caf\u00e9"}',
  }.get(path.suffix, "1-2-3 CAF\u00c9")
  path.write_bytes(
    f"{first}\n".encode() + "u\tx.wav\tcaf\u00e9".encode("latin1")
  )
  with pytest.raises(ValueError, match="must be UTF-8") as caught:
    read(path)
  assert str(caught.value).startswith(f"Line 2 of {path} ")
  assert str(caught.value).endswith(r"Received: line=b'u\tx.wav\tcaf\xe9'")


def test_numbers_and_null_in_a_nemo_manifest(tmp_path):
  _wav(tmp_path / "x.wav")
  row = {"audio_filepath": "x.wav", "text": "a", "id": 7, "duration": None}
  (tmp_path / "x.json").write_text(json.dumps({**row, "speaker": None}))
  (utterance,) = corpora.read_corpus(tmp_path / "x.json")
  assert (utterance.id, utterance.speaker) == ("7", "")
  assert utterance.seconds is None


def test_an_empty_folder(tmp_path):
  with pytest.raises(ValueError, match="none found"):
    corpora.read_corpus(tmp_path)


@pytest.mark.parametrize(
  ("folder", "count"),
  [
    ("librispeech_flac", 200),
    ("librispeech_flac/LibriSpeech", 200),
    ("librispeech_mp3", 846),
    ("librispeech_mp3/dev-clean", 846),
    ("spoken_digits", 2000),
  ],
)
def test_real_corpora(shared_data, folder, count):
  corpus = corpora.read_corpus(shared_data / folder)
  assert len(corpus) == count
  assert corpus.missing_audio == corpus.missing_text == ()
  letters = set("".join(utterance.text for utterance in corpus))
  assert letters <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")


def _fake_tfds(rows):
  def load(name, split, shuffle_files):
    assert name == "librispeech/default" and not shuffle_files
    base, _, part = split.partition("[")
    assert base == "test_clean"
    start, stop = map(int, part[:-1].split(":")) if part else (0, len(rows))
    chosen = rows[start:stop]
    keys = ("id", "text", "speaker_id", "speech")
    return tf.data.Dataset.from_generator(
      lambda: ({key: row[key] for key in keys} for row in chosen),
      output_signature={
        "id": tf.TensorSpec([], tf.string),
        "text": tf.TensorSpec([], tf.string),
        "speaker_id": tf.TensorSpec([], tf.int64),
        "speech": tf.TensorSpec([None], tf.int64),
      },
    )

  return types.SimpleNamespace(load=load)


def test_tensorflow_datasets(monkeypatch):
  rows = [
    {
      "id": f"19-198-{i}",
      "text": "HELLO",
      "speaker_id": 19,
      "speech": np.arange(i * 100, dtype=np.int64),
    }
    for i in range(4)
  ]
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", _fake_tfds(rows))
  corpus = corpora.read_corpus("tfds:librispeech/default/test_clean")
  assert [u.id for u in corpus] == [row["id"] for row in rows]
  assert corpus.utterances[0].speaker == "19"
  empty, *waveforms = corpus.waveforms(0, 3)
  assert isinstance(empty, ValueError)
  for row, waveform in zip(rows[1:], waveforms):
    np.testing.assert_array_equal(waveform * 32768, row["speech"])


def test_tensorflow_datasets_must_be_installed(monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  with pytest.raises(ImportError, match="pip install tensorflow-datasets"):
    corpora.read_corpus("tfds:librispeech/default/test_clean")
  with pytest.raises(ValueError, match="tfds:librispeech/CONFIG/SPLIT"):
    corpora.read_corpus("tfds:mnist")


def test_where_a_missing_recording_was_looked_for(tmp_path, monkeypatch):
  _wav(tmp_path / "here" / "x.wav")
  (tmp_path / "lists").mkdir()
  path = tmp_path / "lists" / "x.tsv"
  path.write_text("path\ttext\nx.wav\tHELLO\n")
  monkeypatch.chdir(tmp_path / "here")
  assert (
    corpora.read_corpus(path).utterances[0].path == f"{tmp_path}/here/x.wav"
  )
  (tmp_path / "here" / "x.wav").unlink()
  with pytest.raises(ValueError, match="x, not at ") as caught:
    corpora.read_corpus(path)
  for folder in ("lists", "here"):
    assert f"{tmp_path}/{folder}/x.wav" in str(caught.value)

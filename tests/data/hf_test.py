"""Data sets of Hugging Face, as files of pyarrow and of `datasets` itself."""

import io
import json

import numpy as np
import pytest
import soundfile

from tf_pcc.data import corpora, records

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra hf")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra hf")


def _samples(seed):
  return np.random.default_rng(seed).integers(-9000, 9000, 1600, np.int16)


def _flac(seed):
  file = io.BytesIO()
  soundfile.write(file, _samples(seed), 16000, format="FLAC")
  return file.getvalue()


def _table(count=12, **columns):
  """A table as `datasets` writes it, without its metadata."""
  sounds = [{"bytes": _flac(i), "path": f"u{i:02d}.flac"} for i in range(count)]
  values = {
    "audio": sounds,
    "sentence": [f"Hello {i}" for i in range(count)],
    "speaker_id": list(range(count)),
    "extra": [[i] for i in range(count)],
    **columns,
  }
  return pyarrow.table(
    {name: column for name, column in values.items() if column is not None}
  )


def _saved(folder, table, parts=2):
  """As `Dataset.save_to_disk` leaves it: streams and state.json."""
  folder.mkdir()
  names = [f"data-{i:05d}-of-{parts:05d}.arrow" for i in range(parts)]
  size = -(-len(table) // parts)
  for i, name in enumerate(names):
    part = table.slice(i * size, size)
    with pyarrow.ipc.new_stream(str(folder / name), part.schema) as writer:
      writer.write_table(part, max_chunksize=4)
  state = {"_data_files": [{"filename": name} for name in names]}
  (folder / "state.json").write_text(json.dumps(state))
  return folder


def _check(corpus, folder, numbers):
  records.write_records(corpus, folder, shards=3, progress=False)
  opened = records.Records(folder)
  assert opened.ids == tuple(f"u{i:02d}" for i in numbers)
  assert opened.texts == tuple(f"HELLO {i}" for i in numbers)
  assert opened.speakers == tuple(map(str, numbers))
  for place, number in enumerate(numbers):
    np.testing.assert_array_equal(opened.read(place), _samples(number))


def test_saved_to_disk(tmp_path):
  folder = _saved(tmp_path / "disk", _table())
  _check(corpora.read_corpus(folder), tmp_path / "r", range(12))


@pytest.mark.parametrize("inner", ["", "data"])
def test_parquet_shards(tmp_path, inner):
  folder = tmp_path / "hub" / inner
  folder.mkdir(parents=True)
  table = _table()
  for i in range(2):
    part = table.slice(i * 6, 6)
    name = f"train-{i:05d}-of-00002.parquet"
    parquet.write_table(part, folder / name, row_group_size=4)
  _check(corpora.read_corpus(tmp_path / "hub"), tmp_path / "r", range(12))
  test = folder / "test-00000-of-00001.parquet"
  parquet.write_table(_table(3), test)
  with pytest.raises(ValueError, match="one split.*splits=.*test.*train"):
    corpora.read_corpus(tmp_path / "hub")
  shard = folder / "train-00001-of-00002.parquet"
  _check(corpora.read_corpus(shard), tmp_path / "s", range(12))
  _check(corpora.read_corpus(test), tmp_path / "t", range(3))


def test_rows_that_cannot_be_used(tmp_path):
  sounds = _table()["audio"].to_pylist()
  sounds[1] = {"bytes": None, "path": None}
  sounds[2] = {"bytes": None, "path": "u02.flac"}
  sounds[3] = {"bytes": None, "path": "../lost.flac"}
  sounds[4] = None
  sounds[5]["bytes"] = b"no sound"
  texts = [f"Hello {i}" for i in range(12)]
  texts[6] = None
  path = tmp_path / "x.parquet"
  ids = [f"i{i:02d}" for i in range(12)]
  parquet.write_table(_table(audio=sounds, sentence=texts, id=ids), path)
  (tmp_path / "u02.flac").write_bytes(_flac(2))
  corpus = corpora.read_corpus(path, max_missing_share=0.5)
  reasons = {skip.id: skip.reason for skip in corpus.skips}
  assert list(reasons) == ["i01", "i03", "i04", "i06"]
  assert reasons["i01"] == reasons["i04"] == "the row has no sound"
  assert "not at" in reasons["i03"] and reasons["i06"] == "no transcript"
  waveforms = dict(zip([u.id for u in corpus], corpus.waveforms()))
  assert "cannot be decoded" in str(waveforms.pop("i05"))
  for key, waveform in waveforms.items():
    expected = _samples(int(key[1:])) / 2**15
    np.testing.assert_allclose(waveform, expected, atol=1e-7)


def test_ids_are_numbers_where_names_repeat(tmp_path):
  sounds = [{"bytes": _flac(i), "path": "audio.flac"} for i in range(3)]
  path = tmp_path / "x.parquet"
  parquet.write_table(_table(3, audio=sounds), path)
  ids = [u.id for u in corpora.read_corpus(path)]
  assert ids == ["0000000", "0000001", "0000002"]


def test_a_text_with_a_nul(tmp_path):
  path = tmp_path / "x.parquet"
  parquet.write_table(_table(2, sentence=["A", "A\0B"]), path)
  with pytest.raises(ValueError, match="Row 1 of .*`sentence`.*no NUL"):
    corpora.read_corpus(path)


@pytest.mark.parametrize("missing", ["audio", "sentence"])
def test_columns_that_are_missing(tmp_path, missing):
  path = tmp_path / "x.parquet"
  parquet.write_table(_table(2, **{missing: None}), path)
  with pytest.raises(ValueError, match="must have one audio column and"):
    corpora.read_corpus(path)


def test_what_is_no_data_set(tmp_path):
  (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
  with pytest.raises(ValueError, match="must be a data set as"):
    corpora.read_corpus(tmp_path / "x.parquet")
  folder = _saved(tmp_path / "disk", _table())
  (folder / "data-00001-of-00002.arrow").unlink()
  with pytest.raises(ValueError, match="must be a data set as"):
    corpora.read_corpus(folder)
  (tmp_path / "dict").mkdir()
  splits = {"splits": ["train", "test"]}
  (tmp_path / "dict" / "dataset_dict.json").write_text(json.dumps(splits))
  with pytest.raises(ValueError, match="one split.*splits=.'train', 'test'"):
    corpora.read_corpus(tmp_path / "dict")


def test_by_datasets_itself(tmp_path):
  datasets = pytest.importorskip("datasets", reason="needs datasets")
  for i in range(5):
    (tmp_path / f"u{i:02d}.flac").write_bytes(_flac(i))
  rows = {
    "sound": [str(tmp_path / f"u{i:02d}.flac") for i in range(5)],
    "text": [f"hello {i}" for i in range(5)],
  }
  made = datasets.Dataset.from_dict(rows)
  made = made.cast_column("sound", datasets.Audio())
  made.save_to_disk(tmp_path / "disk", num_shards=2)
  made.to_parquet(tmp_path / "x.parquet")
  for path in (tmp_path / "disk", tmp_path / "x.parquet"):
    corpus = corpora.read_corpus(path)
    assert [u.text for u in corpus] == [f"HELLO {i}" for i in range(5)]
    assert corpus.utterances[0].id == "u00"
    for i, waveform in enumerate(corpus.waveforms()):
      np.testing.assert_allclose(waveform, _samples(i) / 2**15, atol=1e-7)

"""One corpus in every form that people have gives the same records."""

import json

import numpy as np
import pytest

from tests.data.forms import (
  COUNT,
  FORMS,
  LETTERS,
  WITH_SPEAKERS,
  compressed_nemo,
  ljspeech,
  write_wav,
)
from tf_pcc.data import corpora, records


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_gives_the_same_records(tmp_path, form):
  root = tmp_path / "corpus"
  root.mkdir()
  corpus = corpora.read_corpus(form(root))
  assert not corpus.skips
  records.write_records(corpus, tmp_path / "records", progress=False)
  opened = records.Records(tmp_path / "records")
  assert len(opened) == COUNT
  assert opened.texts == tuple(f"HELLO NUMBER {c}" for c in LETTERS)
  if form in WITH_SPEAKERS:
    assert opened.speakers == tuple(f"s{i % 3}" for i in range(COUNT))
  for i in range(COUNT):
    expected = np.random.default_rng(i).integers(-9000, 9000, 1600, np.int16)
    np.testing.assert_array_equal(opened.read(i), expected)


def test_what_is_not_read_says_so(tmp_path):
  rows = [
    {"audio_filepath": ["a.wav", "b.wav"], "text": "a"},
    {"audio_filepath": "c.wav", "shard_id": 0, "text": "a"},
    {"audio_filepath": ["d.wav"], "text": "a"},
  ]
  write_wav(tmp_path / "d.wav", 0)
  path = tmp_path / "x.json"
  path.write_text("\n".join(map(json.dumps, rows)))
  corpus = corpora.read_corpus(path, max_missing_share=1)
  assert [u.id for u in corpus] == ["d"]
  assert "channels of one utterance" in corpus.skips[0].reason
  assert "tar archives are not read" in corpus.skips[1].reason
  (tmp_path / "x.tar").write_bytes(b"")
  with pytest.raises(ValueError, match="archives .* are unpacked first"):
    corpora.read_corpus(tmp_path / "x.tar")


def test_a_compressed_file_that_is_cut(tmp_path):
  path = compressed_nemo(tmp_path)
  path.write_bytes(path.read_bytes()[:-20])
  with pytest.raises(ValueError, match="must be a readable file"):
    corpora.read_corpus(path)


@pytest.mark.parametrize("line", ["a", "a|b|c|d", "|b"])
def test_ljspeech_lines_that_cannot_be_used(tmp_path, line):
  ljspeech(tmp_path)
  path = tmp_path / "metadata.csv"
  path.write_text(path.read_text() + line + "\n")
  with pytest.raises(ValueError, match=f"Line {COUNT + 1} of {path} must have"):
    corpora.read_corpus(tmp_path)

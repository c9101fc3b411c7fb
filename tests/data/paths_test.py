"""Recordings are found under every spelling, and nothing else is read."""

import json
import os
import random
import unicodedata

import numpy as np
import pytest
import scipy.io.wavfile

from tf_pcc.data import audio, corpora, records
from tf_pcc.data.manifests import Reading
from tf_pcc.data.paths import Finder


def _wav(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  scipy.io.wavfile.write(path, 16000, np.full(1600, 7, np.int16))
  return path


def _one(tmp_path, written, **options):
  """The corpus of one good row and one with a written path."""
  _wav(tmp_path / "corpus" / "good.wav")
  path = tmp_path / "corpus" / "x.jsonl"
  rows = [
    {"audio_filepath": name, "text": "hello", "id": key}
    for key, name in (("a", "good.wav"), ("b", written))
  ]
  path.write_text("\n".join(map(json.dumps, rows)))
  return corpora.read_corpus(path, 0.5, Reading(**options))


@pytest.mark.parametrize(
  ("written", "stored"),
  [
    ("sub\\x.wav", "sub/x.wav"),
    ("x.wav ", "x.wav"),
    ("  x.wav", "x.wav"),
    ("Sub/X.WAV", "sub/x.wav"),
    (unicodedata.normalize("NFC", "\u00e9/\u00e9.wav"), "e\u0301/e\u0301.wav"),
    (unicodedata.normalize("NFD", "\u00e9/\u00e9.wav"), "\u00e9/\u00e9.wav"),
    ("x.wav ", "x.wav "),
    ("sub/../x.wav", "x.wav"),
  ],
)
def test_other_spellings(tmp_path, written, stored):
  (tmp_path / "corpus" / "sub").mkdir(parents=True)
  path = _wav(tmp_path / "corpus" / stored)
  corpus = _one(tmp_path, written)
  assert not corpus.skips
  assert os.path.samefile(corpus.utterances[1].path, path)


def test_the_home_directory(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  path = _wav(tmp_path / "home" / "x.wav")
  assert _one(tmp_path, "~/x.wav").utterances[1].path == str(path)


def test_two_files_that_differ_by_case_are_two(tmp_path):
  for name in ("x.wav", "X.wav"):
    _wav(tmp_path / "corpus" / name)
  assert _one(tmp_path, "X.wav").utterances[1].path.endswith("/X.wav")
  (skip,) = _one(tmp_path, "X.WAV").skips
  assert skip.id == "b" and "not at" in skip.reason


@pytest.mark.parametrize(
  ("written", "reason"),
  [
    ("https://host/x.wav", "a URL is not fetched, download it"),
    ("gs://bucket/x.wav", "a URL is not fetched, download it"),
    ("../x.wav", "out of the corpus's folder"),
    ("sub/../../x.wav", "out of the corpus's folder"),
    ("link.wav", "out of the corpus's folder"),
    ("folder/x.wav", "out of the corpus's folder"),
    ("fifo", "not a regular file but a FIFO"),
    ("sub", "not a regular file but a folder"),
    ("/dev/zero", "a file of the system"),
    ("/proc/self/environ", "a file of the system"),
    ("x" * 5000, "not at"),
    ("y" * 300 + ".wav", "not at"),
  ],
)
@pytest.mark.timeout(60)
def test_what_is_refused(tmp_path, written, reason):
  corpus, outside = tmp_path / "corpus", tmp_path / "x.wav"
  (corpus / "sub").mkdir(parents=True)
  _wav(outside)
  os.mkfifo(corpus / "fifo")
  (corpus / "link.wav").symlink_to(outside)
  (corpus / "folder").symlink_to(tmp_path)
  (skip,) = _one(tmp_path, written).skips
  assert (skip.id, skip.lacks) == ("b", "audio")
  assert reason in skip.reason and len(skip.reason) < 1000
  if "out of" in reason:
    assert "--allow_outside" in skip.reason
    assert not _one(tmp_path, written, allow_outside=True).skips


def test_absolute_paths_are_followed(tmp_path):
  path = _wav(tmp_path / "x.wav")
  assert _one(tmp_path, str(path)).utterances[1].path == str(path)


def test_links_of_folders(tmp_path):
  """A loop ends, a link out of the folder is passed over unless allowed."""
  root = tmp_path / "corpus"
  _wav(root / "a" / "one.wav")
  _wav(tmp_path / "outside" / "two.wav")
  (root / "a" / "x.trans.txt").write_text("one HELLO\n")
  (tmp_path / "outside" / "x.trans.txt").write_text("two HELLO\n")
  (root / "a" / "loop").symlink_to(root)
  (root / "more").symlink_to(tmp_path / "outside")
  assert [u.id for u in corpora.read_corpus(root)] == ["one"]
  allowed = corpora.read_corpus(root, 0.05, Reading(allow_outside=True))
  assert [u.id for u in allowed] == ["one", "two"]


def test_a_folder_that_is_itself_a_link(tmp_path):
  _wav(tmp_path / "corpus" / "a.wav")
  (tmp_path / "corpus" / "a.txt").write_text("hello")
  (tmp_path / "link").symlink_to(tmp_path / "corpus")
  assert len(corpora.read_corpus(tmp_path / "link")) == 1


def test_file_names_that_are_not_utf_8(tmp_path):
  _wav(tmp_path / "a.wav")
  (tmp_path / "a.txt").write_text("hello")
  name = os.fsdecode(b"caf\xe9")
  try:
    _wav(tmp_path / f"{name}.wav")
  except OSError:
    pytest.skip("this file system takes UTF-8 names only")
  (tmp_path / f"{name}.txt").write_text("hello")
  corpus = corpora.read_corpus(tmp_path, 0.5)
  (skip,) = corpus.skips
  assert skip.id == "caf\\xe9" and "not UTF-8: rename it" in skip.reason
  json.dumps([skip.id, skip.reason]).encode()


def test_one_utterance_in_two_formats(tmp_path):
  for name in ("a.wav", "a.mp3", "b.wav"):
    _wav(tmp_path / name)
  audio_bytes = audio.encode_flac(np.full(1600, 7, np.int16))
  (tmp_path / "a.flac").write_bytes(audio_bytes)
  (tmp_path / "x.trans.txt").write_text("a HELLO\nb HELLO\n")
  corpus = corpora.read_corpus(tmp_path)
  names = [os.path.basename(u.path) for u in corpus]
  assert names == ["a.flac", "b.wav"] and not corpus.skips
  rows = [f"{name}\tHELLO" for name in ("a.flac", "a.wav")]
  (tmp_path / "x.tsv").write_text("path\ttext\n" + "\n".join(rows))
  corpus = corpora.read_corpus(tmp_path / "x.tsv")
  assert [u.id for u in corpus] == ["a.flac", "a.wav"]


def test_equal_names_in_several_folders(tmp_path):
  for folder in "ab":
    _wav(tmp_path / folder / "x.wav")
    (tmp_path / folder / "x.txt").write_text("hello")
  assert [u.id for u in corpora.read_corpus(tmp_path)] == ["a/x", "b/x"]


def test_a_finder_without_folders_refuses_relative_files(tmp_path):
  assert Finder([]).refusal(str(_wav(tmp_path / "x.wav")))
  assert not Finder([], allow_outside=True).refusal(str(tmp_path / "x.wav"))


@pytest.mark.parametrize("seed", range(20))
def test_every_line_is_an_utterance_or_a_skip(tmp_path, seed):
  """Whatever paths, texts, offsets and lengths a manifest has."""
  root = tmp_path / "corpus"
  for name in ("a.wav", "b c.wav", "sub/\u00e9.wav"):
    _wav(root / name)
  (root / "empty.wav").touch()
  (root / "cut.wav").write_bytes((root / "a.wav").read_bytes()[:100])
  os.mkfifo(root / "fifo.wav")
  (root / "broken.wav").symlink_to("nowhere")
  (root / "loop.wav").symlink_to("loop.wav")
  paths = [*(p.name for p in root.iterdir()), "sub/e\u0301.wav", "../a.wav"]
  paths += [
    "http://a/b.wav",
    "lost.wav",
    "A.WAV",
    " b c.wav ",
    "sub\\\u00e9.wav",
  ]
  paths += ["x" * 5000, "/dev/null", "~", "~nobody/x", ".", "..", "/"]
  chosen = random.Random(seed)
  rows = []
  for number in range(60):
    row = {
      "id": str(number),
      "audio_filepath": chosen.choice(paths),
      "text": chosen.choice(
        ["hello", "", "...", "\u0645\u0631\u062d\u0628\u0627"]
      ),
    }
    for field, values in (
      ("offset", [0, 0.05, 0.2, 1e9]),
      ("duration", [None, 0.1, 0.05, 3, 1e-9]),
      ("channel_selector", [0, 1, [0], "average"]),
    ):
      if chosen.random() < 0.3:
        row[field] = chosen.choice(values)
    rows.append(row)
  (root / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
  corpus = corpora.read_corpus(root / "x.jsonl", 1.0)
  names = [item.id for item in (*corpus, *corpus.skips)]
  assert sorted(names) == sorted(row["id"] for row in rows)
  index = records.write_records(
    corpus, tmp_path / "r", max_skipped_share=1, progress=False
  )
  skips = [*index["skipped"], *map(vars, corpus.skips)]
  assert index["utterances"] + len(skips) == len(rows)
  assert all(skip["reason"] for skip in skips)


def test_a_link_to_nothing_elsewhere_is_called_broken(tmp_path):
  root = tmp_path / "corpus"
  root.mkdir()
  (root / "x.wav").symlink_to("/nowhere/x.wav")
  (skip,) = _one(tmp_path, "x.wav").skips
  assert skip.reason == "a broken link to /nowhere/x.wav"

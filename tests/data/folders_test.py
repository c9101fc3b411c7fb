"""Folders of recordings as people leave them."""

import os

import numpy as np
import pytest
import scipy.io.wavfile

from tf_pcc.data import corpora, records


def _wav(path, samples=1600):
  path.parent.mkdir(parents=True, exist_ok=True)
  tone = (8000 * np.sin(np.arange(samples) * 0.1)).astype(np.int16)
  scipy.io.wavfile.write(path, 16000, tone)


def _librispeech(root, count=4):
  names = [f"19-198-{i:04d}" for i in range(count)]
  for name in names:
    _wav(root / "19" / f"{name}.wav")
  lines = "".join(f"{name} HELLO\n" for name in names)
  (root / "19" / "19-198.trans.txt").write_text("\ufeff" + lines)
  return root


def test_hidden_files_and_folders_are_passed_over(tmp_path):
  _librispeech(tmp_path)
  for name in ("19/._19-198-0000.wav", "19/._19-198.trans.txt", ".DS_Store"):
    (tmp_path / name).write_bytes(b"\0\5\26\7")
  _wav(tmp_path / ".trash" / "old.wav")
  corpus = corpora.read_corpus(tmp_path)
  assert len(corpus) == 4
  assert corpus.missing_audio == corpus.missing_text == ()


@pytest.mark.parametrize("manifest", [False, True])
def test_a_broken_link_is_skipped_with_that_reason(tmp_path, manifest):
  _librispeech(tmp_path)
  (tmp_path / "19/19-198-0002.wav").unlink()
  (tmp_path / "19/19-198-0002.wav").symlink_to("../lost.wav")
  path = tmp_path
  if manifest:
    path = tmp_path / "x.csv"
    rows = "".join(f"{i},19/19-198-000{i}.wav,HELLO\n" for i in range(4))
    path.write_text("id,path,text\n" + rows)
  corpus = corpora.read_corpus(path)
  index = records.write_records(
    corpus, tmp_path / "r", max_skipped_share=0.3, progress=False
  )
  (skip,) = index["skipped"]
  assert skip["id"] == ("2" if manifest else "19-198-0002")
  assert "a broken link to ../lost.wav" in skip["reason"]


def test_a_tab_after_the_id(tmp_path):
  _wav(tmp_path / "a.wav")
  (tmp_path / "x.trans.txt").write_text("a\tHELLO  YOU\nb\n")
  corpus = corpora.read_corpus(tmp_path, max_missing_share=0.5)
  assert [(u.id, u.text) for u in corpus] == [("a", "HELLO YOU")]
  assert corpus.missing_audio == ("b",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read(tmp_path):
  _librispeech(tmp_path)
  (tmp_path / "closed").mkdir(mode=0)
  with pytest.raises(ValueError, match="closed"):
    corpora.read_corpus(tmp_path)

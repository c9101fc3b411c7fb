"""Files whole or not at all."""

import os

import pytest

from tf_pcc.audit import files


@pytest.mark.parametrize("content", ["é text\n", b"\x00\xff"])
def test_writes_text_and_bytes(tmp_path, content):
  path = files.write_atomically(tmp_path / "a" / "b.txt", content)
  expected = content.encode() if isinstance(content, str) else content
  assert path.read_bytes() == expected
  assert os.listdir(path.parent) == ["b.txt"]


def test_overwrites_only_when_told(tmp_path):
  path = files.write_atomically(tmp_path / "x", "one")
  with pytest.raises(FileExistsError, match=r"--overwrite.*Received: .*x"):
    files.write_atomically(path, "two")
  assert path.read_text() == "one"
  files.write_atomically(path, "two", overwrite=True)
  assert path.read_text() == "two"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
  path = files.write_atomically(tmp_path / "x", "one")

  def broken(source, target):
    raise OSError("disk is gone")

  monkeypatch.setattr(os, "replace", broken)
  with pytest.raises(OSError, match="disk is gone"):
    files.write_atomically(path, "two", overwrite=True)
  assert path.read_text() == "one"
  assert os.listdir(tmp_path) == ["x"]

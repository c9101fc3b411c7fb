"""The one writer: whole or not at all, local and remote."""

import concurrent.futures
import errno
import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tf_pcc import files


@pytest.mark.parametrize("name", ["x", "lr[1e-3]", "ü"])
def test_text_bytes_and_json_come_back(tmp_path, name):
  path = tmp_path / name
  files.write_text(path, "é text\n")
  assert files.read_text(path) == "é text\n"
  files.write_bytes(path, b"\x00\xff")
  assert path.read_bytes() == b"\x00\xff"
  files.write_json(path, {"x": np.float32(0.5), "y": np.arange(2)})
  assert files.read_json(path) == {"x": 0.5, "y": [0, 1]}
  assert os.listdir(tmp_path) == [name]
  with pytest.raises(TypeError, match="object is not JSON"):
    files.write_json(path, {"x": object()})
  assert files.read_json(path) == {"x": 0.5, "y": [0, 1]}


def test_a_remote_file_is_written_and_read():
  path = "ram://files_test/a.json"
  files.write_json(path, [1])
  assert files.read_json(path) == [1]
  files.write_json(path, [2])
  assert files.read_json(path) == [2]


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_no_other(
  tmp_path, monkeypatch, failing
):
  path = tmp_path / "x"
  files.write_text(path, "one")

  def broken(*arguments):
    raise OSError(errno.ENOSPC, "disk is full")

  monkeypatch.setattr(os, failing, broken)
  with pytest.raises(OSError, match="disk is full"):
    files.write_text(path, "two")
  assert path.read_text() == "one"
  assert os.listdir(tmp_path) == ["x"]


def test_the_file_and_its_folder_are_synced_before_and_after_the_rename(
  tmp_path, monkeypatch
):
  events = []
  replace, sync = os.replace, files.sync
  monkeypatch.setattr(
    os, "replace", lambda a, b: (events.append("rename"), replace(a, b))
  )
  monkeypatch.setattr(
    files,
    "sync",
    lambda p: (events.append(pathlib.Path(p).is_dir()), sync(p)),
  )
  files.write_text(tmp_path / "x", "one")
  assert events == [False, "rename", True]


def test_files_of_killed_processes_are_swept(tmp_path):
  with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "a") as new:
    kept = pathlib.Path(new).with_name(pathlib.Path(new).name + "-2")
    kept.write_text("half")
    raise KeyboardInterrupt
  (tmp_path / "b").write_text("whole")
  assert kept.exists()
  files.sweep(tmp_path)
  files.sweep(tmp_path / "missing")
  assert os.listdir(tmp_path) == ["b"]


def test_threads_that_write_leave_the_umask_alone(tmp_path):
  before = os.umask(0o027)
  try:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      list(
        pool.map(lambda i: files.write_text(tmp_path / f"{i}", ""), range(200))
      )
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o640}
  finally:
    assert os.umask(before) == 0o027


def test_a_file_is_as_readable_as_any_other(tmp_path):
  files.write_text(tmp_path / "x", "")
  (tmp_path / "y").write_text("")
  assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


@pytest.mark.parametrize("damage", [b"", b'{"a": ', b"[" * 100_000])
def test_damaged_json_is_named_with_a_remedy(tmp_path, damage):
  path = tmp_path / "index.json"
  path.write_bytes(damage)
  with pytest.raises(ValueError, match=r"index.json must be JSON: prepare"):
    files.read_json(path, "prepare it again")


def test_text_that_is_not_utf_8_is_named(tmp_path):
  (tmp_path / "x").write_bytes("é".encode("utf-16"))
  with pytest.raises(ValueError, match="x must be UTF-8.*at byte 0"):
    files.read_text(tmp_path / "x")


def test_a_byte_order_mark_is_dropped(tmp_path):
  (tmp_path / "x").write_text(json.dumps(["é"]), encoding="utf-8-sig")
  assert files.read_json(tmp_path / "x") == ["é"]


def test_existing_files_are_refused(tmp_path):
  (tmp_path / "x").write_text("")
  files.refuse_existing([tmp_path / "x"], overwrite=True)
  files.refuse_existing([tmp_path / "y"], overwrite=False)
  with pytest.raises(FileExistsError, match=r"--overwrite.*Received: .*x"):
    files.refuse_existing([tmp_path / "x"], overwrite=False)


@pytest.mark.parametrize("parent", ["", "sub/", "ram://require_parent/"])
def test_a_file_that_can_be_written(tmp_path, monkeypatch, parent):
  monkeypatch.chdir(tmp_path)
  tf.io.gfile.makedirs(parent or ".")
  path = f"{parent}a.json"
  files.require_parent(path, "--json")
  assert not tf.io.gfile.exists(path)
  files.write_json(path, [1])
  # One that is there stays as it is.
  files.require_parent(path, "--json")
  assert files.read_json(path) == [1]
  assert len(tf.io.gfile.glob(f"{path}*")) == 1


@pytest.mark.parametrize(
  ("path", "message"),
  [
    ("none/a.json", "in a directory that exists"),
    ("sub/", "in a directory that exists"),
    ("sub", "not a directory"),
    ("/proc/a.json", "can be written"),
  ],
)
def test_a_file_that_cannot_be_written(tmp_path, monkeypatch, path, message):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "sub").mkdir()
  with pytest.raises(
    ValueError, match=f"--json must .*{message}.*Received: --json={path}"
  ):
    files.require_parent(path, "--json")
  assert os.listdir(tmp_path) == ["sub"] and not os.listdir(tmp_path / "sub")


def test_what_never_ends_is_not_read(tmp_path):
  """A process that waits for a FIFO's writer waits for ever."""
  os.mkfifo(tmp_path / "fifo")
  (tmp_path / "file").write_text("1")
  (tmp_path / "link").symlink_to(tmp_path / "file")
  for path in (tmp_path / "fifo", "/dev/zero"):
    for read in (files.read_text, files.read_json):
      with pytest.raises(ValueError, match=f"{path} must be a regular file"):
        read(path)
  assert files.read_json(tmp_path / "link") == 1
  with pytest.raises(FileNotFoundError):
    files.read_text(tmp_path / "missing")

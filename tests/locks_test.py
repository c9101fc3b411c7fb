"""One process writes, and others wait or are refused."""

import errno
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from tests import workers
from tf_pcc import locks

ROOT = pathlib.Path(__file__).resolve().parents[1]
HOLDER = (
  "import sys; from tf_pcc import locks\n"
  "with locks.owned(sys.argv[1], 'output_dir'):\n"
  "  print('has it', flush=True); sys.stdin.readline()"
)


@pytest.fixture
def holder(tmp_path):
  """A process that owns tmp_path/new/records until it reads a line."""
  with workers.holding(HOLDER, tmp_path / "new" / "records") as process:
    yield process


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_second_process_is_told_who_the_first_is(holder, tmp_path, ending):
  path = f"{tmp_path}/new/records{ending}"
  with (
    pytest.raises(ValueError, match="output_dir must not be writ") as error,
    locks.owned(path, "output_dir"),
  ):
    pass
  message = str(error.value)
  assert f"output_dir={path}, owner: process {holder.pid} on " in message
  assert f"on {socket.gethostname()}, since 20" in message
  assert "sys.stdin.readline()" in message
  holder.communicate("")
  with locks.owned(path, "output_dir"):
    assert locks.read_owner(f"{tmp_path}/new/records.writing.json").pid == (
      os.getpid()
    )
  assert os.listdir(tmp_path / "new") == []


def test_a_killed_process_owns_nothing(holder, tmp_path):
  holder.kill()
  holder.wait()
  with locks.owned(tmp_path / "new" / "records", "output_dir"):
    pass
  assert os.listdir(tmp_path / "new") == []


@pytest.mark.parametrize("content", ["", "[]", '{"pid": 1}', "{", None])
def test_an_owner_without_a_record(holder, tmp_path, content):
  record = tmp_path / "new" / "records.writing.json"
  record.unlink()
  if content is not None:
    record.write_text(content)
  with (
    pytest.raises(ValueError, match="owner: a process without a record"),
    locks.owned(tmp_path / "new" / "records", "output_dir"),
  ):
    pass


def test_a_full_disk_leaves_no_lock(tmp_path, monkeypatch):
  def full(path, owner):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

  monkeypatch.setattr(locks, "write_owner", full)
  with (
    pytest.raises(ValueError, match="write to: No space left.*output_dir=/"),
    locks.owned(tmp_path / "records", "output_dir"),
  ):
    pass
  assert os.listdir(tmp_path) == []


def test_a_long_command_is_cut():
  owner = locks.Owner("h", 1, "2024", "t", command="x" * 9999)
  assert len(str(owner)) < 400
  assert str(owner).endswith("xx...")


def test_where_nothing_can_be_written():
  message = "a folder to write to.*=/proc/a/b"
  with (
    pytest.raises(ValueError, match=message),
    locks.owned("/proc/a/b", "output_dir"),
  ):
    pass


def test_a_second_process_waits_for_the_lock(tmp_path):
  lock = tmp_path / "x.lock"
  code = (
    "import sys; from tf_pcc import locks\n"
    "with locks.locked(sys.argv[1], lambda: print('waits', flush=True)):\n"
    "  print('has it', flush=True)"
  )
  with locks.locked(lock):
    other = subprocess.Popen(
      [sys.executable, "-c", code, str(lock)],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      text=True,
    )
    assert other.stdout.readline() == "waits\n"
  assert other.communicate()[0] == "has it\n"

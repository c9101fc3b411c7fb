"""One process writes, and others wait or are refused."""

import errno
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from tests import workers
from tf_pcc import files, locks

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


@pytest.fixture
def remote(request, monkeypatch):
  """A remote place of this test's own; nobody waits, each wait is a call."""
  sleeps = []
  monkeypatch.setattr(time, "sleep", lambda _: sleeps and sleeps.pop(0)())
  folder = f"ram://locks_test/{request.node.name}"
  files.make_folder(folder)
  return f"{folder}/out", sleeps


def _write_record(path, beat=0):
  owner = locks.Owner("another-host", 7, "2024", "t", beat)
  locks.write_owner(f"{path}.writing.json", owner)


def test_a_remote_place_that_another_writes_to(remote):
  path, sleeps = remote
  _write_record(path)
  sleeps[:] = [lambda: None, lambda: _write_record(path, beat=1)]
  with (
    pytest.raises(ValueError, match="--output must .*process 7 on another-ho"),
    locks.owned(path, "--output"),
  ):
    pass
  assert locks.read_owner(f"{path}.writing.json").beat == 1


def test_a_remote_place_whose_owner_is_gone(remote):
  path, _ = remote
  _write_record(path)
  with locks.owned(path, "--output") as require_mine:
    require_mine()
    assert locks.read_owner(f"{path}.writing.json").pid == os.getpid()
  assert locks.read_owner(f"{path}.writing.json") is None


def test_a_remote_place_that_another_took_over(remote):
  """It is looked at, however long the next beat is away."""
  path, _ = remote
  with locks.owned(path, "--output") as require_mine:
    _write_record(path)
    with pytest.raises(ValueError, match="process 7 on another-host"):
      require_mine()
  assert locks.read_owner(f"{path}.writing.json").pid == 7

"""One process writes, and others wait or are refused."""

import os
import pathlib
import subprocess
import sys

import pytest

from tf_pcc import locks


def test_two_processes_do_not_write_to_one_place(tmp_path):
  path = tmp_path / "new" / "records"
  code = (
    "import sys; from tf_pcc import locks\n"
    "with locks.owned(sys.argv[1], 'output_dir'): pass"
  )
  command = [sys.executable, "-c", code, str(path)]
  root = pathlib.Path(__file__).resolve().parents[1]
  with locks.owned(path, "output_dir"):
    other = subprocess.run(
      command, cwd=root, capture_output=True, text=True, check=False
    )
  assert "ValueError: output_dir must not be written by two" in other.stderr
  assert subprocess.run(command, cwd=root, check=False).returncode == 0
  assert os.listdir(path.parent) == []
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
      cwd=pathlib.Path(__file__).resolve().parents[1],
      stdout=subprocess.PIPE,
      text=True,
    )
    assert other.stdout.readline() == "waits\n"
  assert other.communicate()[0] == "has it\n"

"""The harness of `python -m tests.faults`: that it sees what it looks for."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.faults import mutations
from tests.faults.server import Server

ROOT = pathlib.Path(__file__).resolve().parents[1]
CODE = """
import os, sys, time
from tests.faults_test import outcomes
print(outcomes(sys.argv[1]))
"""


def test_the_same_number_is_the_same_damage():
  content = json.dumps({"a": [1, 2], "b": "text"}).encode()
  for whole in (content, bytes(range(256)) * 9, b""):
    found = [
      mutations.mutate(whole, np.random.default_rng(seed))
      for seed in (*range(60), *range(60))
    ]
    assert found[:60] == found[60:]
    assert len(set(found[:60])) > 20
    assert not whole or sum(changed != whole for changed in found) > 100


@dataclasses.dataclass
class _Broken:
  """A target that goes wrong as its case's number says."""

  damaged: str = "*"

  def open(self, folder, path, before):
    what = int((folder.parent / "number").read_text())
    if what == 0:
      return {"lost": 1}
    if what == 1:
      raise ValueError(f"{path} is damaged")
    if what == 2:
      raise ValueError("somewhere something is damaged")
    if what == 3:
      return [][0]
    if what == 4:
      time.sleep(1000)
    if what == 5:
      import os

      os._exit(9)
    return {"memory": len(bytearray(2**20) * 30)}


def outcomes(folder):
  """What the server says of every way to go wrong; in a process of its own."""
  from tests.faults import server

  # A busy machine takes seconds to notice that the process has ended.
  server.HANG_SECONDS = server.WAIT_SECONDS = 10
  folder = pathlib.Path(folder)
  (folder / "good").mkdir()
  (folder / "good" / "file").write_text("content")
  tried = Server(_Broken(), folder / "good", folder / "case", (ValueError,))
  found = []
  for number in range(6):
    (folder / "number").write_text(str(number))
    found.append(tried.attempt(number))
  tried.close()
  return json.dumps(found)


def test_the_server_sees_every_way_to_go_wrong(tmp_path):
  done = subprocess.run(
    [sys.executable, "-c", CODE, str(tmp_path)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  found = json.loads(done.stdout)
  assert [case["outcome"] for case in found] == [
    *("read", "refused", "refused", "trace", "hang", "crash")
  ]
  assert found[0]["lost"] == 1
  assert [found[i]["unnamed"] for i in (1, 2)] == [False, True]
  assert "IndexError" in found[3]["text"]


@pytest.mark.parametrize(
  ("memory", "grown"),
  [([9, 10, 10, 9], 1.0), ([5, 10, 10, 12], 1.2), ([10, 10, 5, 5], 0.5)],
)
def test_growth_is_of_the_most_after_the_warm_up(memory, grown):
  from tests.faults import soak

  assert soak.grew(memory) == grown


def test_every_kind_of_file_is_read_while_it_is_whole():
  done = subprocess.run(
    [sys.executable, "-m", "tests.faults", "--minutes=0", "--kills=0"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr[-3000:]
  assert "| canary plan | 0 |" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_fault_of_two_minutes_is_found():
  done = subprocess.run(
    [sys.executable, "-m", "tests.faults", "--minutes=2"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr[-3000:]

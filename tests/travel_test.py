"""Files written with one TensorFlow are read with another: the same numbers."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests import matrix

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Where tests.matrix keeps its environments, which are used again.
FOLDER = ROOT / ".matrix"


@pytest.fixture(scope="module")
def pythons():
  """Of the oldest and of the newest TensorFlow: two paths of Python."""
  found = {}
  for name, pairs in (("old", matrix.pairs()), ("new", matrix.pairs()[::-1])):
    there = [pair for pair in pairs if matrix.interpreter(pair[0])]
    found[name] = matrix.environment(*there[0], FOLDER)
  return found


def _run(python, *arguments):
  done = subprocess.run(
    [python, "-m", "tests.travel_main", *map(str, arguments)],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    timeout=500,
  )
  assert done.returncode == 0, done.stderr[-2000:]


def _compare(folder, read):
  """Everything is equal but the last bits of sums."""
  a, b = np.load(folder / "numbers.npz"), np.load(read)
  assert set(a.files) == set(b.files) and len(a.files) > 10
  for name in sorted(set(a.files) - {"version"}):
    if a[name].dtype.kind == "f":
      # Two more steps of Adam make 2e-5 of the last bit of a gradient.
      least = 1e-4 if name == "run_on" else 1e-6
      np.testing.assert_allclose(a[name], b[name], 1e-5, least, err_msg=name)
    else:
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)
  return str(a["version"]), str(b["version"])


def test_here(tmp_path):
  """The script itself: what is written here is read here."""
  _run(sys.executable, "write", tmp_path / "files")
  _run(sys.executable, "read", tmp_path / "files", tmp_path / "read.npz")
  _compare(tmp_path / "files", tmp_path / "read.npz")


@pytest.mark.slow
@pytest.mark.timeout(2400)  # two environments may have to be installed
@pytest.mark.parametrize(("writer", "reader"), [("old", "new"), ("new", "old")])
def test_between_the_oldest_and_the_newest(pythons, tmp_path, writer, reader):
  _run(pythons[writer], "write", tmp_path / "files")
  _run(pythons[reader], "read", tmp_path / "files", tmp_path / "read.npz")
  versions = _compare(tmp_path / "files", tmp_path / "read.npz")
  assert versions[0] != versions[1]

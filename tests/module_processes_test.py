"""A session of its own: which process ran what, and how it ended."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
_MODULE = """
import json, os, pathlib, signal, time
import pytest

FOLDER = pathlib.Path(__file__).parent
MADE = []

@pytest.fixture(scope="module")
def made():
  MADE.append(1)
  yield len(MADE)
  (FOLDER / f"{__name__}.torn_down").touch()

@pytest.mark.parametrize("i", range(3))
def test_process(i, made):
  assert made == 1
  path = FOLDER / f"{__name__}-{i}.json"
  path.write_text(json.dumps([os.getpid(), os.getppid()]))
"""
_ENDINGS = """
def test_fails():
  assert [1, 2] == [1, 3]

def test_kills_its_process():
  os.kill(os.getpid(), signal.SIGKILL)

def test_goes_on():
  pass

@pytest.mark.timeout(1)
def test_takes_too_long():
  time.sleep(60)

@pytest.mark.skip(reason="of this")
def test_is_skipped():
  pass
"""


@pytest.fixture
def run(tmp_path):
  """A function (modules, *arguments) -> what pytest printed of them."""
  (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
  (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = *_test.py\n")

  def run(modules, *arguments):
    for name, code in modules.items():
      (tmp_path / f"{name}_test.py").write_text(code)
    return subprocess.run(
      [sys.executable, "-m", "pytest", "-rA", str(tmp_path), *arguments],
      cwd=tmp_path,
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      stdout=subprocess.PIPE,
      text=True,
      stderr=subprocess.STDOUT,
      timeout=300,
    ).stdout

  return run


def _pids(folder, module):
  return [
    json.loads((folder / f"{module}_test-{i}.json").read_text())
    for i in range(3)
  ]


linux = pytest.mark.skipif(
  sys.platform != "linux", reason="modules get processes on Linux alone"
)


@linux
def test_each_module_has_a_process_and_its_fixtures_end(run, tmp_path):
  printed = run({"a": _MODULE, "b": _MODULE})
  assert "6 passed" in printed, printed
  (a, parent), (b, other) = (_pids(tmp_path, name)[0] for name in "ab")
  assert _pids(tmp_path, "a") == [[a, parent]] * 3
  assert _pids(tmp_path, "b") == [[b, other]] * 3
  assert a != b and parent == other
  assert len(list(tmp_path.glob("*.torn_down"))) == 2


@linux
@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_whatever_happens_in_a_process_is_reported(run, tmp_path, workers):
  printed = run({"a": _MODULE + _ENDINGS, "b": _MODULE}, *workers)
  assert "3 failed, 7 passed, 1 skipped" in printed, printed
  assert "assert [1, 2] == [1, 3]" in printed
  assert "process ended in this test, exit code -9" in printed
  assert "Timeout (>1.0s)" in printed
  assert "of this" in printed


def test_a_module_alone_stays_in_pytests_process(run, tmp_path):
  printed = run({"a": _MODULE})
  assert "3 passed" in printed, printed
  [[pid, parent]] = {tuple(pids) for pids in _pids(tmp_path, "a")} - {()}
  assert parent == os.getpid() and pid != parent


@linux
def test_a_module_that_starts_tensorflow_while_imported_is_refused(run):
  starts = "import tensorflow as tf\nX = tf.constant(1)\n"
  printed = run({"a": starts + _MODULE, "b": _MODULE})
  assert "a_test.py starts TensorFlow when it is imported" in printed
  assert "passed" not in printed

"""Programs side by side: their logs, CPU cores and ends."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from launch.comparison import processes

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_a_failed_program_shows_its_last_words(tmp_path):
  log = tmp_path / "a" / "log.txt"
  with pytest.raises(processes.ProgramFailed, match="steps=3[^$]*no_such_mod"):
    processes.run("launch.no_such_mod", ["--steps=3"], str(log))
  assert "$ python -m launch.no_such_mod --steps=3" in log.read_text()


def _sleeper(log, seconds, seen):
  """A task that logs its CPU cores and sleeps; `seen` gets (log, time)."""
  code = (
    "import os, time; print(sorted(os.sched_getaffinity(0)), flush=True); "
    f"time.sleep({seconds})"
  )

  def task(check, cpus):
    def watch():
      check()
      seen.append((log.name, time.monotonic()))

    # A module of Python's own that runs code given on the command line.
    processes.run("timeit", ["-n1", "-r1", code], log, watch, cpus)

  return task


@pytest.mark.skipif(
  not hasattr(os, "sched_setaffinity"),
  reason="this system cannot bind processes to CPU cores",
)
def test_tasks_run_side_by_side_on_cores_of_their_own(tmp_path):
  seen = []
  logs = [tmp_path / name for name in "abc"]
  processes.run_all([_sleeper(log, 2, seen) for log in logs], 2)
  spans = {
    log.name: [t for name, t in seen if name == log.name] for log in logs
  }
  assert max(spans["a"][0], spans["b"][0]) < min(spans["a"][-1], spans["b"][-1])
  cores = [json.loads(log.read_text().splitlines()[1]) for log in logs]
  mine = processes.available_cpus()
  assert all(len(found) == max(1, len(mine) // 2) for found in cores)
  if len(mine) > 1:
    assert not set(cores[0]) & set(cores[1])


def test_when_one_task_fails_the_others_are_ended(tmp_path):
  seen = []

  def fail(check, cpus):
    processes.run("launch.no_such_mod", [], tmp_path / "fail", check, cpus)

  start = time.monotonic()
  with pytest.raises(processes.ProgramFailed, match="no_such_mod"):
    processes.run_all([_sleeper(tmp_path / "long", 600, seen), fail, fail], 2)
  assert time.monotonic() - start < 60


@pytest.mark.skipif(
  sys.platform != "linux", reason="only Linux ends a child with its parent"
)
def test_a_killed_comparison_leaves_no_orphan(tmp_path):
  code = (
    "import sys; from launch.comparison import processes\n"
    "words = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'"
    "\nprocesses.run('timeit', ['-n1', '-r1', words], sys.argv[1])"
  )
  log = tmp_path / "log.txt"
  parent = subprocess.Popen([sys.executable, "-c", code, str(log)], cwd=ROOT)
  end = time.monotonic() + 60
  while not log.exists() or len(log.read_text().splitlines()) < 2:
    assert parent.poll() is None and time.monotonic() < end
    time.sleep(0.05)
  child = int(log.read_text().splitlines()[1])
  assert pathlib.Path(f"/proc/{child}").exists()
  parent.kill()
  parent.wait()
  while _lives(child):
    assert time.monotonic() < end
    time.sleep(0.05)


def _lives(pid):
  """Whether a process runs; one that nobody waited for is over."""
  path = pathlib.Path(f"/proc/{pid}/stat")
  try:
    return path.read_text().rpartition(")")[2].split()[0] != "Z"
  except OSError:
    return False

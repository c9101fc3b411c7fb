"""Cases are tried in a forked process that may hang, crash or eat memory."""

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import traceback

import numpy as np

from tests.faults import mutations

# Seconds of CPU time, or of waiting for nothing, that count as a hang. Waiting
# for a processor that others use is none.
HANG_SECONDS, WAIT_SECONDS = 10, 60
_POLL_SECONDS = 0.5


class Server:
  """Tries cases of one target, each in a fresh copy of its good files.

  Args:
    target: one of `targets.TARGETS`.
    good: folder that its `build` has filled.
    scratch: folder for the copies.
    mistakes: classes of errors that end a program of this package in one line.
  """

  def __init__(self, target, good, scratch, mistakes):
    self._target, self._good, self._scratch = target, good, scratch
    self._mistakes = mistakes
    self._child = None

  def attempt(self, seed):
    """Tries one case.

    Args:
      seed: int; a negative one damages nothing.

    Returns:
      dict: outcome ("read", "refused", "trace", "crash" or "hang"), text, and
      what the target has counted: lost, silent; memory: bytes above the start.
    """
    if self._child is None:
      self._start()
    os.write(self._requests, f"{seed}\n".encode())
    start = _cpu_seconds(self._child)
    used = waited = 0
    while not select.select([self._answers], [], [], _POLL_SECONDS)[0]:
      before, used = used, _cpu_seconds(self._child) - start
      if used == before and not _would_run(self._child):
        waited += _POLL_SECONDS
      if used > HANG_SECONDS or waited > WAIT_SECONDS:
        self.close()
        text = f"{used:.0f} s of CPU time, {waited:.0f} s without any"
        return {"outcome": "hang", "text": text}
    line = self._answers.readline()
    if not line:
      _, status = os.waitpid(self._child, 0)
      self._forget()
      code = os.waitstatus_to_exitcode(status)
      return {"outcome": "crash", "text": f"exit code {code}"}
    return json.loads(line)

  def close(self):
    """Ends the process."""
    if self._child is not None:
      os.kill(self._child, signal.SIGKILL)
      os.waitpid(self._child, 0)
      self._forget()

  def _forget(self):
    os.close(self._requests)
    self._answers.close()
    self._child = None

  def _start(self):
    there, self._requests = os.pipe()
    back, answers = os.pipe()
    self._child = os.fork()
    if self._child:
      os.close(there)
      os.close(answers)
      self._answers = os.fdopen(back)
      return
    os.close(self._requests)
    try:
      _quiet()
      with os.fdopen(there) as requests, os.fdopen(answers, "w") as out:
        for line in requests:
          out.write(json.dumps(self._case(int(line))) + "\n")
          out.flush()
    finally:
      os._exit(0)

  def _case(self, seed):
    folder = pathlib.Path(self._scratch)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(self._good, folder)
    random = np.random.default_rng(max(seed, 0))
    paths = sorted(folder.glob(self._target.damaged))
    path = paths[random.integers(len(paths))]
    before = path.read_bytes()
    if seed >= 0:
      path.write_bytes(mutations.mutate(before, random))
    found = {"lost": 0, "silent": 0, "text": ""}
    start = _memory("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    try:
      found |= self._target.open(folder, path, before) or {}
      found["outcome"] = "read"
    except self._mistakes as error:
      found |= {"outcome": "refused", "text": str(error)}
      found["unnamed"] = folder.name not in str(error)
    except BaseException:
      found |= {"outcome": "trace", "text": traceback.format_exc()}
    found["memory"] = _memory("VmHWM") - start
    return found


def in_child(function, *arguments):
  """Calls a function in a forked process and waits for it."""
  child = os.fork()
  if not child:
    code = 1
    try:
      _quiet()
      function(*arguments)
      code = 0
    except BaseException:
      traceback.print_exc()
    finally:
      os._exit(code)
  _, status = os.waitpid(child, 0)
  if status:
    raise RuntimeError(f"{function} failed")


def _quiet():
  from absl import logging

  logging.set_verbosity(logging.ERROR)


def _memory(name):
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith(f"{name}:"):
      return int(line.split()[1]) * 1024
  return 0


def _would_run(pid):
  """Whether a thread of a process runs, or waits for a processor."""
  for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
    with contextlib.suppress(OSError):
      if path.read_text().rpartition(")")[2].split()[0] == "R":
        return True
  return False


def _cpu_seconds(pid):
  stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
  used = stat.split()[11:13]
  return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")

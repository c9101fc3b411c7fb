"""A runner of Apache Beam: shards are made wherever Beam has workers.

Each task is written to a file beside its shard. The pipeline carries the names
of these files and their hashes, however large the corpus is, and its workers
write the shards; nothing comes back. What is finished is seen by the files, so
what a stopped call has left is not done again, by whichever runner.

The pipeline runs in a process of its own, `tf_pcc.data.beam_main`, because
Beam's local runner waits for ever for a worker that was killed: that process
then ends, with all that it started, and so it does when this one is gone.
"""

import collections
import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from absl import logging

from tf_pcc import extras, files
from tf_pcc.data.shard_task import Report, ShardTask, pickled, unfinished

# Of the file of a task, after the name of its shard.
TASK = ".task"
# Before what `beam_main` says at last.
SAYS = "beam_main: "
# Seconds between two looks for finished shards: here, and in a bucket.
_LOOK, _LOOK_FAR = 1.0, 15.0
# Seconds that a job elsewhere may take to be cancelled.
_CANCELLING = 60.0
_SHOWN_LINES = 20


@dataclasses.dataclass(frozen=True)
class Beam:
  """A runner, as of `tf_pcc.data.running`.

  Attributes:
    flags: Beam's own, such as --runner=FlinkRunner. Default: worker processes
      of this machine.
    workers: How many of these. Default: the number of CPUs.

  Raises:
    ImportError: If Apache Beam is not installed.
    ValueError: If `flags` name a runner and `workers` is given.
  """

  flags: Sequence[str] = ()
  workers: int | None = None

  def __post_init__(self):
    if importlib.util.find_spec("apache_beam") is None:
      found = "No module named 'apache_beam'"
      raise ImportError(
        extras.missing("apache_beam", "--runner=beam", "beam", found)
      )
    if self._names_runner() and self.workers is not None:
      raise ValueError(
        "workers is a number of processes of this machine: beside a runner of "
        "Beam give that runner's own flag. Received: "
        f"workers={self.workers}, flags={' '.join(self.flags)}"
      )

  def _names_runner(self):
    return any(flag.startswith("--runner") for flag in self.flags)

  def all_flags(self) -> list[str]:
    """The flags that Beam gets: the given ones win."""
    if self._names_runner():
      return list(self.flags)
    # What Beam calls DirectRunner downloads a program, Prism, before it falls
    # back on this one.
    local = [
      "--runner=FnApiRunner",
      "--direct_running_mode=multi_processing",
      f"--direct_num_workers={self.workers or os.cpu_count()}",
      "--default_sdk_harness_log_level=WARNING",
    ]
    return [*local, *self.flags]

  def check(self) -> None:
    """Refuses flags with which Beam does not begin, before there is work.

    Raises:
      ValueError: If Beam does, in its own words.
    """
    self._run([], lambda: None)

  def __call__(self, tasks: Sequence[ShardTask], report: Report) -> None:
    """Makes shards.

    Args:
      tasks: Of all shards to make, at least one, in one folder.
      report: Called as shards are finished.

    Raises:
      ValueError: If a worker, or Beam itself, ended before all were made.
    """
    waiting = list(tasks)

    def look():
      nonlocal waiting
      before, waiting = waiting, unfinished(waiting)
      left = {task.path for task in waiting}
      for task in before:
        if task.path not in left:
          report(task.count, task.skipped())

    remote = any(files.is_remote(task.path) for task in tasks)
    self._run([stage(task) for task in tasks], look, remote)
    if waiting:
      raise ValueError(
        "Beam's workers must write where this process reads: on a file system "
        "that all of them share, or gs://. Received: the pipeline ended, and "
        f"{len(waiting)} of {len(tasks)} shards are not there, such as "
        f"{os.path.basename(waiting[0].part)}"
      )

  def _run(self, places, look, remote=False):
    """Runs `beam_main` to its end; `look` is called meanwhile."""
    child = subprocess.Popen(
      [sys.executable, "-m", "tf_pcc.data.beam_main"],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      encoding="utf-8",
      errors="replace",
      # Ctrl-C is for this process, which closes the other's standard input.
      start_new_session=True,
      env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
    )
    assert child.stdin is not None and child.stdout is not None
    lines = collections.deque(maxlen=_SHOWN_LINES)
    # Where a job is, and what it costs, is said by a runner that was named.
    show = logging.info if self.flags and places else logging.debug
    reading = threading.Thread(
      target=_read, args=(child.stdout, lines, show), daemon=True
    )
    reading.start()
    try:
      with contextlib.suppress(BrokenPipeError):
        request = {"flags": self.all_flags(), "places": places}
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
      code = None
      while code is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
          code = child.wait(_LOOK_FAR if remote else _LOOK)
        look()
    except BaseException:
      with contextlib.suppress(OSError):
        child.stdin.close()
      with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_CANCELLING)
      raise
    finally:
      # What a child that was killed itself has left.
      with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
      child.wait()
      reading.join(timeout=10)
      with contextlib.suppress(OSError):
        child.stdin.close()
    if code:
      said = [line for line in lines if line.startswith(SAYS)] or list(lines)
      reason = said[-1].removeprefix(SAYS) if said else f"exit code {code}"
      raise ValueError(f"Apache Beam: {reason}")


def _read(stream, lines, show):
  """Keeps the last lines of a process' output, and shows all but its reason."""
  for line in stream:
    line = line.rstrip()
    if line:
      lines.append(line)
    if line and not line.startswith(SAYS):
      show("%s", line)


def stage(task: ShardTask) -> tuple[str, str]:
  """Writes a task for a worker.

  Args:
    task: The task.

  Returns:
    The path of its file, beside its shard, and the SHA-256 of that file.

  Raises:
    ValueError: If what it reads from is in this process only.
  """
  path = task.path if files.is_remote(task.path) else os.path.abspath(task.path)
  data = pickled(dataclasses.replace(task, path=path))
  files.write_bytes(path + TASK, data)
  return path + TASK, hashlib.sha256(data).hexdigest()


def finish(place: tuple[str, str]) -> None:
  """Makes a shard, in a worker.

  Args:
    place: The path of a task's file, and its SHA-256.

  Raises:
    ValueError: If the file is of another call.
    OSError: If this machine does not see the task's file or its recordings.
  """
  path, digest = place
  host = socket.gethostname()
  try:
    data = files.read_bytes(path)
  except Exception as error:
    raise FileNotFoundError(
      "Beam's workers must see the folder of the records: put it on a file "
      f"system that all of them share, or on gs://. Received: {path} on {host}"
    ) from error
  if hashlib.sha256(data).hexdigest() != digest:
    raise ValueError(f"{path} is of another call: run one at a time")
  task: ShardTask = pickle.loads(data)
  if task.is_finished():
    return
  # Where they are missing each would be skipped, as if it was damaged.
  for source in task.sources:
    if not os.path.exists(source):
      raise FileNotFoundError(
        "Beam's workers must see all recordings, by the same absolute paths: "
        "put them on a file system that all of them share. Received: "
        f"{source} on {host}"
      )
  task.finish()

"""Programs of this package run in processes of their own."""

import concurrent.futures
import ctypes
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.5
# Of <linux/prctl.h>: the signal a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1
_SHOWN_LINES = 15


class ProgramFailed(RuntimeError):
  """A program ended with an error; the message holds its last lines."""


class Stopped(RuntimeError):
  """Another process failed or the user interrupted: this one was ended."""


def run(
  module: str,
  arguments: Sequence[str],
  log: str | os.PathLike,
  watch: Callable[[], None] = lambda: None,
  cpus: set[int] | None = None,
) -> None:
  """Runs `python -m module` to its end.

  The process gives all its memory back when it ends. Interrupting this one ends
  that one by SIGTERM, which makes launch.train save a checkpoint, and waits for
  it. On Linux it gets SIGTERM as well when this one is killed.

  Args:
    module: str, for example "launch.train".
    arguments: list of str.
    log: file that its output is added to, after the command.
    watch: function without arguments, called twice a second meanwhile; what it
      raises ends the process as an interrupt does.
    cpus: set of the CPU cores it may use, or None for all; all where the
      system cannot bind processes to cores.

  Raises:
    ProgramFailed: If its exit code is not 0.
  """
  command = [sys.executable, "-m", module, *arguments]
  path = pathlib.Path(log)
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("a") as file:
    file.write(f"$ python -m {module} {' '.join(arguments)}\n")
    file.flush()
    child = subprocess.Popen(
      command,
      cwd=_ROOT,
      # The bar of the whole is shown by the caller.
      env={
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TQDM_MININTERVAL": "30",
        **os.environ,
      },
      stdout=file,
      stderr=subprocess.STDOUT,
      # Ctrl-C in a terminal reaches a whole process group: the child would get
      # it twice, the second time while it saves.
      start_new_session=True,
      preexec_fn=_before_it_starts(cpus),
    )
    try:
      while child.poll() is None:
        watch()
        time.sleep(_POLL_SECONDS)
    except BaseException:
      child.send_signal(signal.SIGTERM)
      child.wait()
      raise
  watch()
  if child.returncode:
    last = path.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
    raise ProgramFailed(
      f"python -m {module} {' '.join(arguments)} ended with exit code "
      f"{child.returncode}; see {log}:\n" + "\n".join(last)
    )


def _before_it_starts(cpus):
  """What a child does before its program starts, None where there is no way.

  It takes its CPU cores, which its threads inherit, and asks Linux for a signal
  when the thread that started it ends; `run` waits for the child.
  """
  if sys.platform != "linux":
    return None
  # Loaded here: between fork and exec a child of threads must do very little.
  libc, parent = ctypes.CDLL(None), os.getpid()

  def prepare():
    if cpus:
      os.sched_setaffinity(0, cpus)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
      # It ended before it could be asked for.
      os._exit(1)

  return prepare


def available_cpus() -> list[int]:
  """The CPU cores this process may use, a sorted list."""
  if hasattr(os, "sched_getaffinity"):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def run_all(
  tasks: Iterable[Callable[[Callable[[], None], set[int]], None]], parallel: int
) -> None:
  """Does tasks that run programs, some at a time, each on CPU cores of its own.

  Args:
    tasks: list of functions (check, cpus); each calls `run` with these CPU
      cores and a watch function that calls check. They are begun in order.
    parallel: int, how many at a time.

  Raises:
    BaseException: If a task or an interrupt raises it: the first, after all
      processes have been ended and waited for.
  """
  cpus = available_cpus()
  share = max(1, len(cpus) // parallel)
  slices = queue.SimpleQueue()
  for index in range(parallel):
    first = index * share % len(cpus)
    slices.put(set(cpus[first : first + share]))
  stop = threading.Event()

  def check():
    if stop.is_set():
      raise Stopped

  def do(task):
    check()
    mine = slices.get()
    try:
      task(check, mine)
    finally:
      slices.put(mine)

  with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
    futures = [pool.submit(do, task) for task in tasks]
    try:
      for future in concurrent.futures.as_completed(futures):
        future.result()
    except BaseException:
      stop.set()
      raise

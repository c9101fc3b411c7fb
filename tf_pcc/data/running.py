"""Who makes the shards: threads or processes of this machine.

A runner is a function (tasks, report): it returns when all tasks are finished,
in any order. `tf_pcc.data.beam` has the one for other machines.

Decoding, hashing and writing release Python's global lock, but a fifth to a
quarter of the work holds it (RESULTS.md): beyond four or five cores threads
wait for each other, and processes do not.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool

from tf_pcc.data.shard_task import Report, ShardTask, pickled

Runner = Callable[[Sequence[ShardTask], Report], None]


def threads(workers: int | None = None) -> Runner:
  """A runner of threads of this process.

  Args:
    workers: How many. Default: the number of CPUs.

  Returns:
    The runner.
  """
  return functools.partial(_in_threads, workers or os.cpu_count())


def _in_threads(workers, tasks, report):
  stopped = threading.Event()

  def unless_stopped(count, skipped):
    if stopped.is_set():
      raise InterruptedError("another shard failed, or the user stopped")
    report(count, skipped)

  pool = concurrent.futures.ThreadPoolExecutor(workers)
  try:
    for _ in pool.map(lambda task: task.finish(unless_stopped), tasks):
      pass
  except BaseException:
    stopped.set()
    raise
  finally:
    pool.shutdown(cancel_futures=True)


def processes(workers: int | None = None) -> Runner:
  """A runner of processes of one thread each.

  Each of them starts Python and TensorFlow first. The caller's main module is
  imported by each, as `multiprocessing` does.

  Args:
    workers: How many. Default: the number of CPUs.

  Returns:
    The runner; it raises ValueError where the tasks cannot leave this process,
    and where a process was killed.
  """
  return functools.partial(_in_processes, workers or os.cpu_count())


def _in_processes(workers, tasks, report):
  context = multiprocessing.get_context("spawn")
  stopped = context.Event()
  waiting = [pickled(task) for task in tasks]
  pool = concurrent.futures.ProcessPoolExecutor(
    min(workers, len(tasks)), context, _begin, (stopped,)
  )
  try:
    running = {
      pool.submit(_finish, data): task for task, data in zip(tasks, waiting)
    }
    for done in concurrent.futures.as_completed(running):
      report(running[done].count, done.result())
  except BrokenProcessPool as error:
    raise ValueError(
      "every process must live until its shards are finished: if memory ran "
      "out, take fewer workers; the same command goes on. Received: "
      f"workers={workers}, one of them was killed"
    ) from error
  except BaseException:
    stopped.set()
    raise
  finally:
    pool.shutdown(cancel_futures=True)


# Of a process of the pool: set when it is to stop.
_stopped = None


def _begin(stopped):
  global _stopped
  _stopped = stopped
  # Ctrl-C reaches all processes of a terminal: the first one tells the others.
  signal.signal(signal.SIGINT, signal.SIG_IGN)


def _finish(data):
  task = pickle.loads(data)

  def unless_stopped(count, skipped):
    if _stopped is not None and _stopped.is_set():
      raise InterruptedError("another shard failed, or the user stopped")

  task.finish(unless_stopped)
  return task.skipped()

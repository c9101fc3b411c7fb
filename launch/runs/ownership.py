"""One training in a directory at a time, and who it is.

A local directory is locked by a lock that ends with its process, even a killed
one. Object storage such as gs:// has no locks: there the owner's record is
written again and again, and an owner whose record no longer changes is gone.

.training.lock         what is locked; it stays
.training.owner.json   the owner's record; a killed process leaves it
"""

import contextlib
import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import filelock
import tensorflow as tf
from absl import logging

from tf_pcc import files, locks

RECORD = ".training.owner.json"
_LOCK = ".training.lock"
# A process that was asked to stop has this long to save its last checkpoint.
_PATIENCE_SECONDS = 10
_BEAT_SECONDS = 15
# An owner whose record is older than this is gone.
_SILENT_SECONDS = 60
# Two that write their record at once see after this who wrote last.
_SETTLE_SECONDS = 2


@contextlib.contextmanager
def hold(
  directory: str | os.PathLike, writes: bool = True
) -> Iterator[Callable[[], None]]:
  """Owns a run's directory while the block runs.

  Args:
    directory: the run's directory, local or remote; a local one is made if it
      is missing.
    writes: whether this process writes there; the others own nothing.

  Yields:
    A function without arguments to call before anything is written. It raises
    ValueError if another process took a remote directory over, as happens to a
    machine that was suspended.

  Raises:
    ValueError: If another process owns it, naming that one.
    OSError: If a local directory cannot be written.
  """
  if not writes:
    yield _nothing
  elif files.is_remote(directory):
    with _beating(directory) as require_mine:
      yield require_mine
  else:
    with _locked(directory):
      yield _nothing


@contextlib.contextmanager
def _locked(directory):
  files.make_folder(directory)
  lock = filelock.FileLock(files.join(directory, _LOCK))
  try:
    try:
      lock.acquire(blocking=False)
    except filelock.Timeout:
      logging.info(
        "%s is in use: waiting up to %d s for it",
        directory,
        _PATIENCE_SECONDS,
      )
      lock.acquire(timeout=_PATIENCE_SECONDS)
  except filelock.Timeout as error:
    raise _refusal(directory, _read(directory)) from error
  try:
    _write(directory, locks.myself())
    yield
  finally:
    with contextlib.suppress(OSError):
      os.unlink(files.join(directory, RECORD))
    lock.release()


@contextlib.contextmanager
def _beating(directory):
  mine = _claim(directory)
  stopped, others = threading.Event(), []

  def beat():
    count = 0
    while not stopped.wait(_BEAT_SECONDS):
      try:
        found = _read(directory)
        if found and found.token != mine.token:
          others.append(found)
          return
        count += 1
        _write(directory, dataclasses.replace(mine, beat=count))
      except (OSError, tf.errors.OpError) as error:
        logging.warning("%s cannot be written just now: %s", RECORD, error)

  def require_mine():
    if others:
      raise _refusal(directory, others[0])

  thread = threading.Thread(target=beat, daemon=True)
  thread.start()
  try:
    yield require_mine
  finally:
    stopped.set()
    thread.join()
    if not others:
      with contextlib.suppress(tf.errors.OpError):
        tf.io.gfile.remove(files.join(directory, RECORD))


def _claim(directory):
  """Writes this process's record unless there is another that lives."""
  found = _read(directory)
  if found and not _died_here(found):
    logging.info(
      "%s trained in %s: waiting up to %d s to see whether it still does",
      found,
      directory,
      _SILENT_SECONDS,
    )
    for _ in range(_SILENT_SECONDS // _BEAT_SECONDS + 1):
      time.sleep(_BEAT_SECONDS)
      now = _read(directory)
      if now is None:
        break
      if now != found:
        raise _refusal(directory, now)
  mine = locks.myself()
  tf.io.gfile.makedirs(directory)
  _write(directory, mine)
  time.sleep(_SETTLE_SECONDS)
  found = _read(directory)
  if found and found.token != mine.token:
    raise _refusal(directory, found)
  return mine


def _died_here(owner):
  """Whether an owner was a process of this machine that is no more."""
  if owner.host != socket.gethostname():
    return False
  if owner.pid == os.getpid():
    # It had this number before: containers count from 1 at every start.
    return True
  return not locks.lives(owner.pid)


def _read(directory):
  """The owner by its record; None where there is none that can be read."""
  try:
    return locks.read_owner(files.join(directory, RECORD))
  except tf.errors.NotFoundError:
    return None


def _write(directory, owner):
  locks.write_owner(files.join(directory, RECORD), owner)


def _refusal(directory, owner):
  return ValueError(
    "--workdir must have one training at a time: wait for the other one, stop "
    f"it, or choose another directory. Received: workdir={directory}, owner: "
    f"{owner or 'a process without a record'}"
  )


def _nothing():
  pass

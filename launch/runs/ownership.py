"""One training in a directory at a time, and who it is.

A local directory is locked by a lock that ends with its process, even a killed
one; in object storage such as gs:// the record itself has to live, see
`tf_pcc.remote_locks`.

.training.lock         what is locked; it stays
.training.owner.json   the owner's record; a killed process leaves it
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator

import filelock
import tensorflow as tf
from absl import logging

from tf_pcc import files, locks, remote_locks

RECORD = ".training.owner.json"
_LOCK = ".training.lock"
# A process that was asked to stop has this long to save its last checkpoint.
_PATIENCE_SECONDS = 10


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
    tf.io.gfile.makedirs(directory)
    record = files.join(directory, RECORD)
    refusal = functools.partial(_refusal, directory)
    with remote_locks.owned(record, refusal) as require_mine:
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
    locks.write_owner(files.join(directory, RECORD), locks.myself())
    yield
  finally:
    with contextlib.suppress(OSError):
      os.unlink(files.join(directory, RECORD))
    lock.release()


def _read(directory):
  """The owner by its record; None where there is none that can be read."""
  return locks.read_owner(files.join(directory, RECORD))


def _refusal(directory, owner):
  return ValueError(
    "--workdir must have one training at a time: wait for the other one, stop "
    f"it, or choose another directory. Received: workdir={directory}, owner: "
    f"{owner or 'a process without a record'}"
  )


def _nothing():
  pass

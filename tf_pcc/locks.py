"""Locks between the processes of a machine, by files."""

import contextlib
import os
from collections.abc import Callable, Iterator

from tf_pcc import extras, files


@contextlib.contextmanager
def owned(path: str | os.PathLike, name: str) -> Iterator[None]:
  """Refuses to write where another process of this machine is writing.

  Args:
    path: local file or folder that the block writes; a lock lies beside it
      meanwhile. Remote paths are not locked.
    name: the argument it came by, for the message.

  Yields:
    None.

  Raises:
    ValueError: If another process holds it, or its folder cannot be written.
  """
  if files.is_remote(path):
    yield
    return
  filelock = _filelock()
  lock = filelock.FileLock(f"{os.fspath(path)}.writing.lock")
  try:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    lock.acquire(blocking=False)
  except OSError as error:
    if isinstance(error, filelock.Timeout):
      raise ValueError(
        f"{name} must not be written by two processes at once: wait for the "
        f"other one, or choose another path. Received: {name}={path}"
      ) from error
    raise ValueError(
      f"{name} must be in a folder to write to: {error.strerror}. Received: "
      f"{name}={path}"
    ) from error
  try:
    yield
  finally:
    with contextlib.suppress(OSError):
      os.unlink(lock.lock_file)
    lock.release()


@contextlib.contextmanager
def locked(
  path: str | os.PathLike, waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
  """Holds a lock of this machine's processes while the block runs.

  Args:
    path: local file whose existence carries the lock, `X.lock` beside the `X`
      it protects; its folder must exist.
    waiting: called once if another process holds the lock.

  Yields:
    None.
  """
  filelock = _filelock()
  lock = filelock.FileLock(path)
  try:
    lock.acquire(blocking=False)
  except filelock.Timeout:
    waiting()
    lock.acquire()
  try:
    yield
  finally:
    lock.release()


def _filelock():
  return extras.load("filelock", "Locking files", "train")

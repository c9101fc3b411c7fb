"""Locks between processes, by files, and who holds them."""

import contextlib
import dataclasses
import datetime
import functools
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tf_pcc import extras, files

# Of a command, in a message.
_SHOWN_CHARACTERS = 300


@dataclasses.dataclass(frozen=True)
class Owner:
  """A process that writes to a place.

  Attributes:
    host: str, the name of its machine.
    pid: int.
    since: str, UTC, ISO 8601.
    token: str, which no other process has.
    beat: int, which rises while it lives.
    command: str, what started it.
  """

  host: str
  pid: int
  since: str
  token: str
  beat: int = 0
  command: str = ""

  def __str__(self):
    what = self.command
    if len(what) > _SHOWN_CHARACTERS:
      what = what[:_SHOWN_CHARACTERS] + "..."
    since = f"process {self.pid} on {self.host}, since {self.since}"
    return f"{since}: {what}" if what else since


def myself() -> Owner:
  """This process, as an owner from now on."""
  now = datetime.datetime.now(datetime.timezone.utc)
  return Owner(
    host=socket.gethostname(),
    pid=os.getpid(),
    since=now.isoformat(timespec="seconds"),
    token=secrets.token_hex(8),
    command=shlex.join(sys.orig_argv),
  )


def lives(pid: int) -> bool:
  """Whether a process of this machine is there.

  Args:
    pid: its number.

  Returns:
    False if there is none; True for one of another user too.
  """
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except OSError:
    pass
  return True


def read_owner(path: str | os.PathLike) -> Owner | None:
  """The owner by its record.

  Args:
    path: local or remote file, as `write_owner` writes it.

  Returns:
    `Owner`, or None where there is none that can be read.
  """
  missing: tuple[type[Exception], ...] = ()
  if files.is_remote(path):
    from tensorflow import errors

    missing = (errors.NotFoundError,)
  try:
    found: dict[str, Any] = files.read_json(path)
    return Owner(**found)
  except (ValueError, TypeError, OSError, *missing):
    return None


def write_owner(path: str | os.PathLike, owner: Owner) -> None:
  """Writes an owner's record, whole or not at all.

  Args:
    path: local or remote file.
    owner: who it is.
  """
  files.write_json(path, dataclasses.asdict(owner))


@contextlib.contextmanager
def owned(path: str | os.PathLike, name: str) -> Iterator[Callable[[], None]]:
  """Refuses to write where another process is writing.

  Args:
    path: file or folder that the block writes; a lock, and a record of who
      holds it, lie beside it meanwhile. A local lock is one of this machine's
      processes; a remote path has a record that lives.
    name: the argument it came by, for the message.

  Yields:
    A function without arguments to call before what was made takes its place:
    it raises the ValueError if another process took a remote path over.

  Raises:
    ValueError: If another process holds it, naming that one, or its folder
      cannot be written.
  """
  beside = os.fspath(path).rstrip("/") + ".writing"

  def refusal(owner):
    return ValueError(
      f"{name} must not be written by two processes at once: wait for the "
      f"other one, stop it, or choose another path. Received: {name}={path}, "
      f"owner: {owner or 'a process without a record'}"
    )

  if files.is_remote(path):
    from tf_pcc import remote_locks

    with remote_locks.owned(f"{beside}.json", refusal) as require_mine:
      yield functools.partial(require_mine, now=True)
    return
  filelock = _filelock()
  lock, record = filelock.FileLock(f"{beside}.lock"), f"{beside}.json"
  try:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    lock.acquire(blocking=False)
  except filelock.Timeout as error:
    raise refusal(read_owner(record)) from error
  except OSError as error:
    raise _not_writable(path, name, error) from error
  try:
    try:
      write_owner(record, myself())
    except OSError as error:
      raise _not_writable(path, name, error) from error
    yield _nothing
  finally:
    for left in (record, lock.lock_file):
      with contextlib.suppress(OSError):
        os.unlink(left)
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


def _nothing():
  pass


def _not_writable(path, name, error):
  return ValueError(
    f"{name} must be in a folder to write to: {error.strerror}. Received: "
    f"{name}={path}"
  )


def _filelock():
  return extras.load("filelock", "Locking files", "train")

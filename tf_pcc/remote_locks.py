"""Who writes to a place in object storage, which has no locks.

The owner's record is written again and again. An owner whose record no longer
changes is gone.
"""

import contextlib
import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

from absl import logging

from tf_pcc import locks
from tf_pcc.locks import Owner

_BEAT_SECONDS = 15
# An owner whose record is older than this is gone.
_SILENT_SECONDS = 60
# Two that write their record at once see after this who wrote last.
_SETTLE_SECONDS = 2


@contextlib.contextmanager
def owned(
  record: str, refusal: Callable[[Owner], ValueError]
) -> Iterator[Callable[..., None]]:
  """Owns a remote place while the block runs.

  Args:
    record: remote file of the owner's record; it is removed at the end.
    refusal: function of another owner, the error that names it.

  Yields:
    A function to call before anything is written. It raises the refusal if
    another process took the place over, as happens to a machine that was
    suspended. What it knows is as old as the last beat; with `now=True` it
    reads the record.

  Raises:
    ValueError: If another process owns it.
  """
  import tensorflow as tf

  mine = _claim(record, refusal)
  stopped, others = threading.Event(), []

  def look():
    found = locks.read_owner(record)
    if found and found.token != mine.token:
      others.append(found)

  def beat():
    count = 0
    while not stopped.wait(_BEAT_SECONDS):
      try:
        look()
        if others:
          return
        count += 1
        locks.write_owner(record, dataclasses.replace(mine, beat=count))
      except (OSError, tf.errors.OpError) as error:
        logging.warning("%s cannot be written just now: %s", record, error)

  def require_mine(now=False):
    if now:
      look()
    if others:
      raise refusal(others[0])

  thread = threading.Thread(target=beat, daemon=True)
  thread.start()
  try:
    yield require_mine
  finally:
    stopped.set()
    thread.join()
    if not others:
      with contextlib.suppress(tf.errors.OpError):
        tf.io.gfile.remove(record)


def _claim(record, refusal):
  """Writes this process's record unless there is another that lives."""
  found = locks.read_owner(record)
  if found and not _died_here(found):
    logging.warning(
      "%s is of %s: waiting up to %d s to see whether it still lives",
      record,
      found,
      _SILENT_SECONDS,
    )
    for _ in range(_SILENT_SECONDS // _BEAT_SECONDS + 1):
      time.sleep(_BEAT_SECONDS)
      now = locks.read_owner(record)
      if now is None:
        break
      if now != found:
        raise refusal(now)
  mine = locks.myself()
  locks.write_owner(record, mine)
  time.sleep(_SETTLE_SECONDS)
  found = locks.read_owner(record)
  if found and found.token != mine.token:
    raise refusal(found)
  return mine


def _died_here(owner):
  """Whether an owner was a process of this machine that is no more."""
  if owner.host != socket.gethostname():
    return False
  if owner.pid == os.getpid():
    # It had this number before: containers count from 1 at every start.
    return True
  return not locks.lives(owner.pid)

"""A program's output, copied to its run's directory while it grows.

The output of a program on a rented machine is in a file there, and gone with
the machine. --workdir usually is in a bucket, which stays.
"""

import atexit
import datetime
import os
import socket
import sys
import threading

import tensorflow as tf
from absl import logging

from tf_pcc import files

_EVERY_SECONDS = 60.0


class Copy:
  """Copies what a file gains from now on, once a minute and at the exit.

  At the exit means: after the message or the trace that the program ends with.
  A copy that fails is a warning, and tried again.

  Args:
    path: the file that this program's output goes to.
    directory: the run's directory, local or remote.

  Attributes:
    target: the copy: logs/TIME-HOST.log in the directory, TIME in UTC.

  Raises:
    ValueError: If the file is not there.
  """

  def __init__(self, path: str, directory: str | os.PathLike):
    if not os.path.isfile(path):
      raise ValueError(
        "--output_log must be the file that the program's output goes to, as "
        f"in `>> train.log 2>&1`. Received: --output_log={path}"
      )
    self._path = path
    # What earlier programs have written has copies of its own.
    self._start = os.path.getsize(path)
    self._copied = 0
    now = datetime.datetime.now(datetime.timezone.utc)
    name = f"{now:%Y%m%dT%H%M%S}-{socket.gethostname()}.log"
    self.target = files.join(directory, "logs", name)
    self._lock = threading.Lock()

  def start(self, every: float = _EVERY_SECONDS) -> None:
    """Begins: a thread copies while the program runs.

    Args:
      every: seconds between two copies.
    """
    files.make_folder(os.path.dirname(self.target))
    stopped = threading.Event()

    def work():
      while not stopped.wait(every):
        self.copy()

    threading.Thread(target=work, name="log copy", daemon=True).start()

    def end():
      stopped.set()
      self.copy()

    atexit.register(end)

  def copy(self) -> None:
    """Copies what there is, if it is more than was copied."""
    for stream in (sys.stdout, sys.stderr):
      stream.flush()
    with self._lock:
      try:
        with open(self._path, "rb") as file:
          file.seek(self._start)
          content = file.read()
        if len(content) > self._copied:
          files.write_bytes(self.target, content)
          self._copied = len(content)
      except (OSError, tf.errors.OpError) as error:
        logging.warning("the log is not copied: %s", error)

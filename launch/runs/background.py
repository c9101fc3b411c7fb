"""Work that goes on while training does: one piece at a time, in a thread."""

import threading
from collections.abc import Callable
from typing import Any


class Background:
  """Runs one function at a time; its error is raised by whoever waits for it.

  The thread does not keep a program alive: one that must have its work done
  waits.

  Example:

  >>> done = []
  >>> background = Background()
  >>> background.start(done.append, "copied")
  >>> background.wait()
  >>> done
  ['copied']
  """

  def __init__(self):
    self._thread: threading.Thread | None = None
    self._error: BaseException | None = None

  def start(self, function: Callable[..., object], *args: Any) -> None:
    """Waits for the last piece of work, and starts another.

    Args:
      function: what to run.
      *args: its arguments.
    """
    self.wait()
    self._thread = threading.Thread(
      target=self._run, args=(function, *args), daemon=True
    )
    self._thread.start()

  def wait(self) -> None:
    """Returns when nothing is under way.

    What a piece of work raised is raised here, once.
    """
    if self._thread is not None:
      self._thread.join()
      self._thread = None
    error, self._error = self._error, None
    if error is not None:
      raise error

  def _run(self, function, *args):
    try:
      function(*args)
    except BaseException as error:
      self._error = error

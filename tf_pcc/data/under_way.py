"""Reads under way when the interpreter ends.

A pipeline of tf.data that goes away waits for the Python functions that it has
called. Once the interpreter is ending these never return, and the program would
hang for ever: after Ctrl-C, or an error, in the middle of an epoch.
"""

import atexit
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

# So long it takes until pipelines have filled their buffers with refusals.
_PAUSE_SECONDS = 0.2


class _Calls:
  """The calls of the functions that pipelines make."""

  def __init__(self):
    self._changed = threading.Condition()
    self._begun = self._under_way = 0
    self._ended = False

  def begin(self):
    with self._changed:
      if self._ended:
        raise RuntimeError("The program is ending: nothing more is read.")
      if not self._begun:
        atexit.register(self.wait)
      self._begun += 1
      self._under_way += 1

  def end(self):
    with self._changed:
      self._under_way -= 1
      self._changed.notify_all()

  def wait(self):
    """Lets no call begin any more, and waits for those that have begun."""
    with self._changed:
      self._ended = True
      self._changed.wait_for(lambda: not self._under_way)
    time.sleep(_PAUSE_SECONDS)


_calls = _Calls()


def at_most_until_exit(function: Callable[..., Any]) -> Callable[..., Any]:
  """A function for tf.numpy_function, waited for when the interpreter ends.

  Args:
    function: Any function.

  Returns:
    The same function, which raises a RuntimeError once the interpreter ends.
  """

  @functools.wraps(function)
  def called(*arguments):
    _calls.begin()
    try:
      return function(*arguments)
    finally:
      _calls.end()

  return called

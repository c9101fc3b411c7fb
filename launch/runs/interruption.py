"""Ctrl-C and SIGTERM, answered between two steps."""

import signal
import threading

import tensorflow as tf
from absl import logging

from launch.runs import cluster


class Interruption:
  """Notes Ctrl-C and SIGTERM while it is entered.

  An exception in the middle of a step would leave weights that are ahead of the
  step's number, so training asks between steps. The second signal does not
  wait.

  Args:
    strategy: tf.distribute strategy.

  Example:

  >>> import tensorflow as tf
  >>> with Interruption(tf.distribute.get_strategy()) as interruption:
  ...   for step in range(3):
  ...     if interruption.requested():
  ...       break
  >>> step
  2
  """

  _SIGNALS = (signal.SIGINT, signal.SIGTERM)

  def __init__(self, strategy: tf.distribute.Strategy):
    self._strategy = strategy
    self._received = False
    self._previous = {}

  def __enter__(self):
    # Python allows handlers in the main thread only.
    if threading.current_thread() is threading.main_thread():
      self._previous = {s: signal.signal(s, self._note) for s in self._SIGNALS}
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _note(self, *_):
    if self._received:
      raise KeyboardInterrupt
    self._received = True
    logging.warning("stopping after this step; once more to stop at once")

  def requested(self) -> bool:
    """Whether to stop: on several workers, whether any of them was asked to.

    All workers must call it at the same step; the answer is the same for all.
    """
    return any(cluster.gather(self._strategy, int(self._received)))

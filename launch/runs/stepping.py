"""Training steps of a run as one compiled function."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf


def step_function(
  model: keras.Model, strategy: tf.distribute.Strategy
) -> Callable[[Iterator[Any], int], None]:
  """A function that takes steps of training.

  Args:
    model: compiled, with a `train_step`.
    strategy: tf.distribute strategy.

  Returns:
    Function (iterator of a distributed data set, number of steps).
  """

  # Converting the whole model to graph control flow that it does not need
  # would double the time of tracing.
  step = tf.autograph.experimental.do_not_convert(model.train_step)

  @tf.function
  def run(iterator, count):
    for _ in tf.range(count):
      strategy.run(step, args=(next(iterator),))

  @tf.function(autograph=False)
  def run_one(iterator):
    strategy.run(step, args=(next(iterator),))

  def steps(iterator, count):
    if count == 1:
      run_one(iterator)
    else:
      run(iterator, tf.constant(count))

  return steps

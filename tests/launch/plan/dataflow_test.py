"""Steps that clip at the wrong place are found."""

import keras
import pytest
import tensorflow as tf

from launch.plan import dataflow, tracing
from tests.launch.plan import recognisers

CORES = recognisers.CORES


def found_in(strategy, step, tensors):
  data = tracing.distribute(strategy, recognisers.five_steps()[0])
  function = tracing.trace(strategy, step, data)
  return dataflow.collectives(function, tensors)


def gradients_of(model, data):
  x, y = data
  with tf.GradientTape() as tape:
    loss = model.compute_loss(x, y, model(x, training=True))
  return tape.gradient(loss, model.trainable_variables)


def total(gradients):
  context = tf.distribute.get_replica_context()
  return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)


def test_clipping_after_aggregation():
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.compiled(strategy, "model", None)

  def step(data):
    gradients = total(gradients_of(model, data))
    gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
    for variable, gradient in zip(model.trainable_variables, gradients):
      variable.assign_sub(gradient / CORES)

  found = found_in(strategy, step, len(model.trainable_variables))
  sums = [c for c in found if c.kind == "CrossReplicaSum" and c.clip_after]
  assert len(sums) == len(model.trainable_variables)
  assert not any(c.clip_before for c in sums)


def test_clipping_after_aggregation_through_a_variable():
  """The sum is put in a variable, read again, and clipped."""
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.compiled(strategy, "model", None)
  with strategy.scope():
    held = [
      tf.Variable(
        tf.zeros(v.shape), aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
      )
      for v in model.trainable_variables
    ]

  def step(data):
    for variable, gradient in zip(held, total(gradients_of(model, data))):
      variable.assign(gradient)
    return tf.clip_by_global_norm([v.read_value() for v in held], 1.0)

  found = found_in(strategy, step, len(held))
  sums = [c for c in found if c.kind == "CrossReplicaSum"]
  assert len(sums) == len(held)
  assert all(c.clip_after and not c.clip_before for c in sums)


def test_the_clip_of_keras_is_seen():
  """`global_clipnorm` clips before the sum, though to R times its bound.

  That its bound is another one shows when the step is executed, see
  copies_test.py; our optimizers refuse it.
  """
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.compiled(
    strategy, "stock", None, lambda: keras.optimizers.SGD(global_clipnorm=1.0)
  )
  shapes = [v.shape for v in model.trainable_variables]
  found = found_in(strategy, model.train_step, len(shapes))
  gradients, _ = dataflow.split(found, shapes)
  assert all(c.clip_before and not c.clip_after for c in gradients)
  # It is a clip of all gradients, not of more than there are.
  found = found_in(strategy, model.train_step, len(shapes) + 1)
  assert not any(c.clip_before for c in found)


@pytest.mark.parametrize("kind", ["branch", "loop"])
def test_a_sum_that_not_all_cores_may_reach(kind):
  strategy = tracing.tpu_strategy(CORES)

  def step(data):
    x = tf.reduce_sum(data[0])

    def summed():
      return total(x)

    if kind == "branch":
      return tf.cond(x > 0, summed, lambda: x)
    return tf.while_loop(lambda y: y > 0, lambda y: (summed() - y,), (x,))

  with pytest.raises(ValueError, match="must not be inside a loop or a branch"):
    found_in(strategy, step, 1)

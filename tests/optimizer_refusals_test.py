"""What the optimizer's API refuses, in one sentence each."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import apis
from tests.apis import batches, compiled, update

STEP = np.array([[3, 4], [5, 12]], np.float32)


@pytest.mark.parametrize(
  "option",
  [
    {"clipnorm": 1.0},
    {"global_clipnorm": 1.0},
    {"clipvalue": 1.0},
    {"gradient_accumulation_steps": 2},
  ],
  ids=lambda o: next(iter(o)),
)
@pytest.mark.parametrize("api", apis.APIS)
def test_contradicting_inner_options_are_refused(api, option):
  inner = keras.optimizers.SGD(0.1, **option)
  ((name, value),) = option.items()
  with pytest.raises(ValueError, match=f"Received: {name}={value}"):
    if api == "optimizer":
      tf_pcc.PerCoreClipping(inner, 1.0)
    else:
      inputs = keras.Input((2,))
      model = tf_pcc.PerCoreModel(inputs, keras.layers.Dense(1)(inputs))
      model.compile(inner, loss="mse", clipping=tf_pcc.Clipping(1.0))


def dense(cls=keras.Model):
  inputs = keras.Input((2,))
  return cls(inputs, keras.layers.Dense(1)(inputs))


def test_mixed_float16_is_refused_by_compile():
  keras.config.set_dtype_policy("mixed_float16")
  with pytest.raises(ValueError, match="mixed_bfloat16"):
    dense().compile(tf_pcc.PerCoreClipping("sgd", 1.0), loss="mse")
  with pytest.raises(ValueError, match="mixed_bfloat16"):
    dense(tf_pcc.PerCoreModel).compile(
      "sgd", loss="mse", clipping=tf_pcc.Clipping(1.0)
    )


def test_mixed_float16_is_refused_in_a_loop_of_ones_own():
  keras.config.set_dtype_policy("mixed_float16")
  with pytest.raises(ValueError, match="mixed_bfloat16"):
    tf_pcc.PerCoreClipping("sgd", 1.0).build(dense().trainable_variables)


def test_loss_scale_optimizer_is_refused_both_ways_round():
  with pytest.raises(ValueError, match="Received: inner_optimizer="):
    tf_pcc.PerCoreClipping(
      keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), 1.0
    )
  with pytest.raises(ValueError, match="LossScaleOptimizer"):
    keras.optimizers.LossScaleOptimizer(tf_pcc.PerCoreClipping("sgd", 1.0))
  with pytest.raises(ValueError, match="LossScaleOptimizer"):
    dense(tf_pcc.PerCoreModel).compile(
      keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
      loss="mse",
      clipping=tf_pcc.Clipping(1.0),
    )


def test_nested_clipping_and_both_apis_at_once_are_refused():
  inner = tf_pcc.PerCoreClipping("sgd", 1.0)
  with pytest.raises(ValueError, match="Received: inner_optimizer="):
    tf_pcc.PerCoreClipping(inner, 1.0)
  with pytest.raises(ValueError, match="clipped twice"):
    dense(tf_pcc.PerCoreModel).compile(
      inner, loss="mse", clipping=tf_pcc.Clipping(1.0)
    )


@pytest.mark.parametrize("clipping", [1.0, tf_pcc.MinBound(), "min"])
def test_clipping_must_be_a_clipping(clipping):
  with pytest.raises(ValueError, match="Received: clipping="):
    dense(tf_pcc.PerCoreModel).compile("sgd", loss="mse", clipping=clipping)


def test_periodic_overwrite_by_the_average(make_strategy):
  def make():
    return keras.optimizers.SGD(
      1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=1
    )

  with make_strategy(2).scope(), pytest.raises(ValueError, match="SwapEMA"):
    tf_pcc.PerCoreClipping(make(), 1.0).build(dense().trainable_variables)
  # On one core Keras can do it, and so do we.
  one = tf.distribute.get_strategy()
  found = update(compiled("optimizer", one, 2, np.inf, make), STEP[None, :1])
  stock = update(compiled("optimizer", one, 2, None, make), STEP[None, :1])
  np.testing.assert_allclose(found, stock, rtol=1e-6)


def test_apply_outside_of_replica_context_is_refused(make_strategy):
  strategy = make_strategy(2)
  with strategy.scope():
    w = keras.Variable([1.0, 1.0])
    optimizer = tf_pcc.PerCoreClipping("sgd", 1.0)
    with pytest.raises(RuntimeError, match="strategy.run"):
      optimizer.apply([tf.ones(2)], [w])


def test_built_under_another_strategy_is_refused(make_strategy):
  model = compiled("optimizer", make_strategy(2), 2, 1.0)
  model.optimizer.build(model.trainable_variables)
  with pytest.raises(ValueError, match="built under another strategy"):
    model.fit(batches([STEP]), verbose=0)


def test_statistics_and_apply_before_the_build_are_refused():
  optimizer = tf_pcc.PerCoreClipping("sgd", 1.0)
  with pytest.raises(ValueError, match="Received: built=False"):
    optimizer.statistics()
  with pytest.raises(ValueError, match="trainable_variables must be given"):
    optimizer.apply([tf.ones(2)])


def test_inner_optimizer_must_be_one():
  with pytest.raises(ValueError, match="Received: inner_optimizer=None"):
    tf_pcc.PerCoreClipping(None, 1.0)

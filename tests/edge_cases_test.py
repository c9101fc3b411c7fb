"""The contract's edge cases, one test each, on both APIs."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import logging

import tf_pcc
from tests.apis import APIS, batches, compiled, update
from tests.conftest import mirrored

pytestmark = pytest.mark.parametrize("api", APIS)
NAN, INF = np.nan, np.inf
# Norms 5, 10, 13 and 1.
GRADIENTS = np.array([[3, 4], [6, 8], [5, 12], [0.6, 0.8]], np.float32)


def clip(gradients, bound):
  norms = np.linalg.norm(gradients, axis=1, keepdims=True)
  return gradients * np.minimum(1, bound / norms)


@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize(
  ("bound", "dead_cores", "dead"),
  [
    (tf_pcc.FixedBound(2.0), "fixed", [0, 0]),
    (tf_pcc.FixedBound(2.0), "live", [NAN, 1]),
    (tf_pcc.MinBound(), "live", [0, 0]),
    (tf_pcc.MinBound(), "fixed", [INF, 0]),
    (tf_pcc.RunningBound(0.0), "live", [-INF, NAN]),
  ],
)
def test_dead_core_contributes_nothing(
  api, make_strategy, bound, dead, dead_cores, select, monkeypatch
):
  force_select(monkeypatch, select)
  model = compiled(
    api, make_strategy(4), 2, bound, clipping={"dead_cores": dead_cores}
  )
  live = GRADIENTS[:3]
  found = update(model, [[live[0], dead, live[1], live[2]]])
  rho = 2.0 if isinstance(bound, tf_pcc.FixedBound) else 5.0
  count = 4 if dead_cores == "fixed" else 3
  np.testing.assert_allclose(found, clip(live, rho).sum(0) / count, rtol=1e-6)
  statistics = model.optimizer.statistics()
  assert statistics["live_cores"] == 3
  assert statistics["skipped_steps"] == 0
  np.testing.assert_allclose(statistics["clip_bound"], rho)
  np.testing.assert_allclose(statistics["core_norm_min"], 5.0)


@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize(
  ("bound", "dead"),
  [
    (tf_pcc.FixedBound(1.0), [0, 0]),
    (tf_pcc.MinBound(), [NAN, 0]),
    (tf_pcc.RunningBound(0.5), [INF, 0]),
  ],
)
def test_no_live_core_no_step(
  api, make_strategy, bound, dead, select, monkeypatch
):
  force_select(monkeypatch, select)
  model = compiled(
    api,
    make_strategy(2),
    2,
    bound,
    # Momentum and weight decay would move the weights without a gradient.
    lambda: keras.optimizers.AdamW(0.1, weight_decay=0.5, use_ema=True),
  )
  update(model, [GRADIENTS[:2]])
  before = [v.numpy() for v in model.optimizer.inner_optimizer.variables]
  assert update(model, [[dead, dead]]).tolist() == [0, 0]
  after = [v.numpy() for v in model.optimizer.inner_optimizer.variables]
  for a, b in zip(before, after):
    np.testing.assert_array_equal(a, b)
  assert int(model.optimizer.iterations.numpy()) == 1
  statistics = model.optimizer.statistics()
  assert (statistics["skipped_steps"], statistics["live_cores"]) == (1, 0)
  assert np.abs(update(model, [GRADIENTS[:2]])).max() > 0
  assert int(model.optimizer.iterations.numpy()) == 2


@pytest.mark.parametrize("value", [0, -1.0, NAN, "1", None, True, [1]])
def test_bad_bound_is_refused(api, value):
  with pytest.raises(ValueError, match="(?s)Received: (norm|bound)="):
    if api == "optimizer":
      tf_pcc.PerCoreClipping("sgd", tf_pcc.FixedBound(value))
    else:
      tf_pcc.Clipping(value)


def steps_for(cores):
  """Gradients of three steps, of few enough bits that any sum of them is exact.

  TensorFlow adds up three or more tensors in an order that depends on which
  buffer it can reuse, so with arbitrary numbers a stock run may differ from
  itself in the last bit.
  """
  data = np.random.default_rng(0).normal(size=(3, cores, 2))
  return data if cores <= 2 else np.round(data * 64) / 64


@functools.cache
def stock_update(cores):
  """The update of Keras' own SGD with momentum, for `steps_for(cores)`."""
  model = compiled("optimizer", mirrored(cores), 2, None, momentum)
  return update(model, steps_for(cores))


def momentum():
  return keras.optimizers.SGD(0.5, 0.5)


@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize("bound", ["infinite", "huge", "just above"])
def test_within_the_bound_gives_the_same_bits(api, make_strategy, cores, bound):
  data = steps_for(cores)
  largest = np.linalg.norm(data.astype(np.float32), axis=-1).max()
  bound = {"infinite": INF, "huge": 1e30, "just above": largest * 1.000001}[
    bound
  ]
  clipped = compiled(api, make_strategy(cores), 2, float(bound), momentum)
  np.testing.assert_array_equal(update(clipped, data), stock_update(cores))
  assert clipped.optimizer.statistics()["clipped_fraction"] == 0


def test_duplicate_embedding_rows_are_summed(api, make_strategy):
  """The row looked up twice has gradient 2, twice squared: norm sqrt(5)."""
  with make_strategy(1).scope():
    inputs = keras.Input((3,), dtype="int32")
    table = keras.layers.Embedding(4, 1, embeddings_initializer="zeros")
    outputs = keras.ops.sum(table(inputs), axis=1)
    if api == "optimizer":
      model = keras.Model(inputs, outputs)
      model.compile(
        tf_pcc.PerCoreClipping(keras.optimizers.SGD(1.0), 1.0),
        loss=lambda _, p: p[:, 0],
      )
    else:
      model = tf_pcc.PerCoreModel(inputs, outputs)
      model.compile(
        keras.optimizers.SGD(1.0),
        loss=lambda _, p: p[:, 0],
        clipping=tf_pcc.Clipping(1.0),
      )
  model.fit(np.array([[0, 0, 2]]), np.zeros((1, 1)), verbose=0)
  np.testing.assert_allclose(
    model.get_weights()[0][:, 0],
    -np.array([2, 0, 1, 0]) / np.sqrt(5),
    rtol=1e-6,
  )


@pytest.mark.parametrize("batch_clip_norm", [None, 0.5])
def test_variable_without_gradient_passes_through(
  api, make_strategy, batch_clip_norm
):
  with make_strategy(2).scope():
    inputs = keras.Input((2,))
    used = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    loose = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    outputs = used(inputs) + keras.ops.stop_gradient(loose(inputs))
    options = {"loss": lambda _, p: p[:, 0]}
    limits = {"batch_clip_norm": batch_clip_norm}
    if api == "optimizer":
      model = keras.Model(inputs, outputs)
      optimizer = tf_pcc.PerCoreClipping(
        keras.optimizers.SGD(1.0), 1.0, **limits
      )
    else:
      model = tf_pcc.PerCoreModel(inputs, outputs)
      optimizer = keras.optimizers.SGD(1.0)
      options["clipping"] = tf_pcc.Clipping(1.0, **limits)
    model.compile(optimizer, **options)
  model.fit(batches([[[3, 4], [0.6, 0.8]]]), verbose=0)
  size = batch_clip_norm or 1.0
  np.testing.assert_allclose(
    used.get_weights()[0][:, 0], [-0.6 * size, -0.8 * size], rtol=1e-6
  )
  np.testing.assert_array_equal(loose.get_weights()[0][:, 0], [1, 1])


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_low_precision_norm_is_accumulated_in_float32(
  api, make_strategy, dtype
):
  """In bfloat16 a sum of 4,096 ones stops at 256: the norm would be 16."""
  size = 4096
  with make_strategy(2).scope():
    inputs = keras.Input((size,), dtype=dtype)
    outputs = keras.layers.Dense(
      1, use_bias=False, kernel_initializer="zeros", dtype=dtype
    )(inputs)
    loss = lambda _, p: p[:, 0]  # noqa: E731
    if api == "optimizer":
      model = keras.Model(inputs, outputs)
      model.compile(
        tf_pcc.PerCoreClipping(keras.optimizers.SGD(1.0), 32.0), loss=loss
      )
    else:
      model = tf_pcc.PerCoreModel(inputs, outputs)
      model.compile(
        keras.optimizers.SGD(1.0), loss=loss, clipping=tf_pcc.Clipping(32.0)
      )
  x = tf.ones((4, size), dtype)
  model.fit(x, tf.zeros((4, 1)), batch_size=4, verbose=0)
  weights = model.get_weights()[0].astype(np.float32)
  # Norm 64 clipped to 32: every entry a half.
  np.testing.assert_array_equal(weights, np.full((size, 1), -0.5))
  np.testing.assert_allclose(
    model.optimizer.statistics()["core_norm_mean"], 64.0
  )


def test_one_core_pcc_is_batch_clipping(api, make_strategy):
  found = update(compiled(api, make_strategy(1), 2, 1.0), [[[3, 4]]])
  np.testing.assert_allclose(found, [0.6, 0.8], rtol=1e-6)


def test_one_core_apcc_clips_nothing_and_warns_once(
  api, make_strategy, monkeypatch
):
  warnings = []
  monkeypatch.setattr(logging, "warning", lambda *a: warnings.append(a))
  model = compiled(api, make_strategy(1), 2, tf_pcc.MinBound())
  found = update(model, [[[3, 4]], [[6, 8]]], epochs=2)
  np.testing.assert_allclose(found, [18, 24])
  assert len(warnings) == 1
  assert "clips nothing" in warnings[0][0]


def test_uneven_batches_count_equally_by_default(api, make_strategy):
  """Five rows on two cores: three and two, as an unclipped run weighs them."""
  x = np.array([[3, 4], [3, 4], [3, 4], [0, 1], [0, 1]], np.float32)
  data = tf.data.Dataset.from_tensor_slices((x, np.zeros((5, 1), "f")))
  even = data.take(4).batch(4).concatenate(data.batch(5))

  def train(bound):
    model = compiled(api, make_strategy(2), 2, bound)
    # The first batch of fit must be even (the sharp edges say why).
    model.fit(even, verbose=0, shuffle=False)
    return model.get_weights()[0][:, 0]

  stock = compiled("optimizer", make_strategy(2), 2, None)
  stock.fit(even, verbose=0, shuffle=False)
  np.testing.assert_array_equal(train(INF), stock.get_weights()[0][:, 0])
  first = ([0.6, 0.8], (np.array([3, 4]) + [0, 1]) / 2)
  second = ([0.6, 0.8], [0.0, 1.0])
  first = np.array([first[0], first[1] / np.linalg.norm(first[1])]).mean(0)
  np.testing.assert_allclose(
    train(1.0), -(first + np.mean(second, 0)), rtol=1e-6
  )


def test_uneven_batches_may_count_by_examples(api, make_strategy):
  if api == "optimizer":
    with pytest.raises(ValueError, match="core_weights"):
      tf_pcc.PerCoreClipping("sgd", 1.0, core_weights="examples")
    return
  x = np.array([[3, 4]] * 3 + [[0, 1], [0, 1]], np.float32)
  data = tf.data.Dataset.from_tensor_slices((x, np.zeros((5, 1), "f")))
  for dead_cores in ("fixed", "live"):
    model = compiled(
      api,
      make_strategy(2),
      2,
      1.0,
      clipping={"core_weights": "examples", "dead_cores": dead_cores},
    )
    strategy = model.distribute_strategy
    with strategy.scope():
      model.optimizer.build(model.trainable_variables)
    iterator = iter(strategy.experimental_distribute_dataset(data.batch(5)))
    strategy.run(tf.function(model.train_step), args=(next(iterator),))
    expected = (3 * np.array([0.6, 0.8]) + 2 * np.array([0.0, 1.0])) / 5
    np.testing.assert_allclose(
      -model.get_weights()[0][:, 0], expected, rtol=1e-6
    )


def test_bound_does_not_depend_on_the_number_of_cores(api, make_strategy):
  """The same gradient on every core gives the same step on 1, 2, 4 and 8."""
  steps = [
    update(compiled(api, make_strategy(n), 2, 2.5), [[[3, 4]] * n])
    for n in (1, 2, 4, 8)
  ]
  for step in steps:
    np.testing.assert_allclose(step, [1.5, 2.0], rtol=1e-6)


def test_static_loss_scale_does_not_change_the_bound(api, make_strategy):
  model = compiled(
    api,
    make_strategy(2),
    2,
    2.5,
    lambda: keras.optimizers.SGD(1.0, loss_scale_factor=64.0),
  )
  np.testing.assert_allclose(
    update(model, [[[3, 4], [3, 4]]]), [1.5, 2.0], rtol=1e-6
  )


def force_select(monkeypatch, select):
  """Makes `step_if` take the TPU's form, or the branch, on CPU devices."""
  from tf_pcc import replicas

  original = replicas.step_if
  monkeypatch.setattr(
    replicas, "step_if", lambda *args: original(*args, select=select)
  )

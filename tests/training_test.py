"""The model's API: plain Keras without clipping, and how it may be used."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import reference

SIZE = 3
PER_CORE = 4
RATE = 0.1


def draw(steps, cores):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(steps * cores * PER_CORE, SIZE)).astype(np.float32)
  return x, np.sin(x.sum(1, keepdims=True)).astype(np.float32)


def dataset(x, y, cores):
  data = tf.data.Dataset.from_tensor_slices((x, y))
  return data.batch(cores * PER_CORE, drop_remainder=True)


@keras.saving.register_keras_serializable("training_test")
class AddsLoss(keras.layers.Layer):
  """A layer with a loss of its own, a mean over this core's examples."""

  def call(self, x):
    self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
    return x


def functional(cls):
  inputs = keras.Input((SIZE,))
  h = keras.layers.Dense(4, "tanh", kernel_regularizer="l2")(inputs)
  h = keras.layers.Dropout(0.3, seed=1)(AddsLoss()(h))
  return cls(inputs, keras.layers.Dense(1)(h))


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_without_clipping_it_is_plain_keras(make_strategy, cores):
  """Bit for bit where TensorFlow's own sum over the cores has one order."""
  x, y = draw(3, cores)
  found = []
  for cls in (tf_pcc.PerCoreModel, keras.Model):
    keras.utils.set_random_seed(3)
    with make_strategy(cores).scope():
      model = functional(cls)
      model.compile(keras.optimizers.Adam(RATE), loss="mse", metrics=["mae"])
    data = dataset(x, y, cores)
    # Eight cores trace slowly: there the weights and the logs must do.
    more = {"validation_data": data, "epochs": 2} if cores <= 2 else {}
    history = model.fit(data, verbose=0, **more).history
    evaluated = {}
    if cores <= 2:
      evaluated = model.evaluate(data, verbose=0, return_dict=True)
    found.append((model.get_weights(), history, evaluated))
  (ours, history, evaluated), (stock, stock_history, stock_evaluated) = found
  rtol = 0 if cores <= 2 else 1e-6
  for a, b in zip(ours, stock):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
  assert history.keys() == stock_history.keys()
  for name in history:
    np.testing.assert_allclose(
      history[name], stock_history[name], rtol=1e-6, err_msg=name
    )
  for name in evaluated:
    np.testing.assert_allclose(
      evaluated[name], stock_evaluated[name], rtol=1e-6, err_msg=name
    )


class Regressor(tf_pcc.PerCoreModel):
  """A call without `training`, and a loss that is a plain mean."""

  def __init__(self):
    super().__init__()
    self.hidden = keras.layers.Dense(4, "tanh", kernel_initializer="ones")
    self.out = keras.layers.Dense(1, kernel_initializer="ones")

  def call(self, x):
    return self.out(self.hidden(x))

  def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
    return tf.reduce_mean(tf.square(y - y_pred))


class WithMore(Regressor):
  """A loss added to the compiled one."""

  def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
    compiled = tf_pcc.PerCoreModel.compute_loss(
      self, x, y, y_pred, sample_weight, training
    )
    return compiled + 0.5 * tf.reduce_mean(tf.square(y_pred))


def trained(cls, strategy, x, y, clipping, loss=None):
  with strategy.scope():
    model = cls()
    model.compile(keras.optimizers.SGD(RATE), loss=loss, clipping=clipping)
  history = model.fit(
    dataset(x, y, strategy.num_replicas_in_sync), verbose=0
  ).history
  return model, history


def expected(plain, loss, x, y, cores, bound):
  """NumPy after the per-core gradients of any loss; weights, mean loss."""
  rule = None if bound is None else reference.Bound(**bound)
  losses = []
  for first in range(0, len(x), cores * PER_CORE):
    units = []
    for core in range(cores):
      start = first + core * PER_CORE
      rows = slice(start, start + PER_CORE)
      with tf.GradientTape() as tape:
        value = loss(y[rows], plain(x[rows]))
      losses.append(float(value))
      gradients = tape.gradient(value, plain.trainable_variables)
      units.append([g.numpy() for g in gradients])
    if rule is None:
      mean = [np.mean(g, axis=0) for g in zip(*units)]
    else:
      mean = reference.clipped_mean(units, rule)
    plain.set_weights([w - RATE * g for w, g in zip(plain.get_weights(), mean)])
  return plain.get_weights(), np.mean(losses)


@pytest.mark.parametrize(
  ("cls", "compiled_loss", "loss"),
  [
    (Regressor, None, lambda y, p: tf.reduce_mean(tf.square(y - p))),
    (
      WithMore,
      "mse",
      lambda y, p: (
        tf.reduce_mean(tf.square(y - p)) + 0.5 * tf.reduce_mean(tf.square(p))
      ),
    ),
  ],
)
@pytest.mark.parametrize("bound", [None, {"kind": "fixed", "norm": 0.5}])
def test_subclass_with_a_loss_of_its_own(
  make_strategy, cls, compiled_loss, loss, bound
):
  x, y = draw(3, 4)
  clipping = bound and tf_pcc.Clipping(bound["norm"])
  model, history = trained(cls, make_strategy(4), x, y, clipping, compiled_loss)
  plain = cls()
  plain(x[:1])
  weights, mean_loss = expected(plain, loss, x, y, 4, bound)
  for a, b in zip(model.get_weights(), weights):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(history["loss"], [mean_loss], rtol=1e-5)
  np.testing.assert_allclose(
    model.evaluate(dataset(x, y, 4), verbose=0),
    loss(y, plain(x)),
    rtol=1e-5,
  )


def test_functional_use_leaves_the_class_alone(make_strategy):
  """keras.Model would rewrite the bases of PerCoreModel itself."""
  bases = tf_pcc.PerCoreModel.__bases__
  first = functional(tf_pcc.PerCoreModel)

  class Named(tf_pcc.PerCoreModel):
    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
      return tf.reduce_mean(y_pred)

  second = functional(Named)
  assert tf_pcc.PerCoreModel.__bases__ == bases == (keras.Model,)
  assert isinstance(first, tf_pcc.PerCoreModel)
  assert isinstance(second, Named)
  assert type(first) is not type(second)
  assert type(functional(tf_pcc.PerCoreModel)) is type(first)
  assert type(second).__name__ == "Named"
  later = Regressor()
  assert later(np.ones((2, SIZE), "f")).shape == (2, 1)
  assert float(second.compute_loss(None, None, np.float32([2, 4]))) == 3.0
  # Other ways to say the same.
  inputs = keras.Input((SIZE,))
  named = tf_pcc.PerCoreModel(
    inputs=inputs, outputs=keras.layers.Identity()(inputs), name="mine"
  )
  assert named.name == "mine"
  assert isinstance(named, type(first))


def test_train_step_in_a_loop_of_ones_own(make_strategy):
  x, y = draw(3, 2)
  strategy = make_strategy(2)
  clipping = tf_pcc.Clipping(tf_pcc.MinBound(), microbatches=2)
  fitted, _ = trained(Regressor, strategy, x, y, clipping)
  with strategy.scope():
    model = Regressor()
    model.compile(keras.optimizers.SGD(RATE), clipping=clipping)
    model(x[:1])
    model.optimizer.build(model.trainable_variables)
  step = tf.function(lambda b: strategy.run(model.train_step, args=(b,)))
  for batch in strategy.experimental_distribute_dataset(dataset(x, y, 2)):
    logs = step(batch)
  assert logs.keys() == {"loss"}
  for a, b in zip(model.get_weights(), fitted.get_weights()):
    np.testing.assert_array_equal(a, b)


def test_sample_weights_reach_the_loss(make_strategy):
  x, y = draw(1, 2)
  weights = np.arange(len(x), dtype=np.float32)
  found = []
  for cls in (tf_pcc.PerCoreModel, keras.Model):
    keras.utils.set_random_seed(3)
    with make_strategy(2).scope():
      model = functional(cls)
      model.compile(keras.optimizers.SGD(RATE), loss="mse")
    model.fit(
      x, y, sample_weight=weights, batch_size=8, shuffle=False, verbose=0
    )
    found.append(model.get_weights())
  for a, b in zip(*found):
    np.testing.assert_array_equal(a, b)


def test_dictionaries_in_and_out():
  """Inputs and targets by name, two outputs, through micro-batches."""
  a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
  model = tf_pcc.PerCoreModel(
    {"a": a, "b": b},
    {
      "sum": keras.layers.Add()([a, keras.layers.Dense(2)(b)]),
      "one": keras.layers.Dense(1)(a),
    },
  )
  model.compile(
    "sgd",
    loss={"sum": "mse", "one": "mse"},
    metrics={"one": "mae"},
    clipping=tf_pcc.Clipping(tf_pcc.MinBound(), microbatches=2),
  )
  x = {"a": np.ones((8, 2), "f"), "b": np.ones((8, 2), "f")}
  y = {"sum": np.zeros((8, 2), "f"), "one": np.ones((8, 1), "f")}
  before = model.get_weights()
  history = model.fit(x, y, batch_size=4, verbose=0).history
  assert {"loss", "one_mae", "clip_bound"} <= history.keys()
  assert np.isfinite(history["one_mae"]).all()
  assert np.abs(model.get_weights()[0] - before[0]).max() > 0


def test_monitor_is_put_first_once(make_strategy):
  x, y = draw(2, 1)
  seen = []

  class Reads(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
      seen.append(logs["clip_bound"])

  model = Regressor()
  model.compile("sgd", clipping=tf_pcc.Clipping(0.5))
  model.fit(dataset(x, y, 1), verbose=0, callbacks=Reads())
  model.fit(
    dataset(x, y, 1),
    verbose=0,
    callbacks=[tf_pcc.ClippingMonitor(), Reads()],
  )
  assert seen == [0.5] * 4


class OwnLoss(tf_pcc.PerCoreModel):
  """The loss is the mean input, times a weight that is 1."""

  def __init__(self):
    super().__init__()
    self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

  def call(self, x):
    return x * self.scale

  def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
    return tf.reduce_mean(y_pred)


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize(
  ("dead", "expected"),
  [
    ([np.nan, 3.0, 5.0, np.inf], 4.0),
    ([2.0, np.nan, np.nan, np.nan], 2.0),
    ([np.nan] * 4, np.nan),
    ([1.0, 2.0, 3.0, 6.0], 3.0),
  ],
)
def test_the_loss_is_the_mean_over_cores_with_a_finite_one(
  make_strategy, dead, expected, microbatches
):
  clipping = tf_pcc.Clipping(tf_pcc.FixedBound(9.0), microbatches=microbatches)
  x = np.repeat(np.float32(dead), PER_CORE)[:, None]
  with make_strategy(4).scope():
    model = OwnLoss()
    model.compile(keras.optimizers.SGD(0.0), clipping=clipping)
  data = tf.data.Dataset.from_tensor_slices(x).batch(4 * PER_CORE)
  history = model.fit(data, verbose=0).history
  np.testing.assert_allclose(history["loss"], [expected])
  found = model.get_metrics_result()["loss"]
  np.testing.assert_allclose(float(found), expected)


def test_a_core_counts_with_its_microbatches_that_have_a_finite_loss():
  model = OwnLoss()
  clipping = tf_pcc.Clipping(tf_pcc.MinBound(), microbatches=4)
  model.compile(keras.optimizers.SGD(0.0), clipping=clipping)
  x = np.float32([[1], [np.nan], [5], [np.inf]])
  history = model.fit(x, batch_size=4, verbose=0).history
  np.testing.assert_allclose(history["loss"], [3.0])


def test_without_clipping_a_loss_that_is_not_finite_shows():
  model = OwnLoss()
  model.compile(keras.optimizers.SGD(0.0))
  x = np.float32([[1], [np.nan]])
  assert np.isnan(model.fit(x, batch_size=2, verbose=0).history["loss"])

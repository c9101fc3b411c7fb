"""Micro-batches: cutting, the loop, and what layers do inside it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import apis, reference
from tf_pcc import microbatches

RATE = 0.1


def test_split_and_join():
  x = np.arange(24, dtype=np.float32).reshape(6, 4)
  data = ({"a": tf.constant(x)}, None, tf.range(6))
  parts = microbatches.split(data, 3)
  assert parts[0]["a"].shape == (3, 2, 4)
  assert parts[1] is None
  np.testing.assert_array_equal(parts[2], [[0, 1], [2, 3], [4, 5]])
  joined = microbatches.join(parts[0])
  np.testing.assert_array_equal(joined["a"], x)


def test_split_must_divide():
  with pytest.raises(ValueError, match="microbatches=4, per-core batch=6"):
    microbatches.split(tf.zeros((6, 2)), 4)

  @tf.function(input_signature=[tf.TensorSpec([None, 2])])
  def cut(x):
    return microbatches.split(x, 4)

  assert cut(tf.zeros((8, 2))).shape == (4, 2, 2)
  with pytest.raises(tf.errors.InvalidArgumentError, match="must divide"):
    cut(tf.zeros((6, 2)))


def test_fit_says_when_the_batch_cannot_be_cut():
  model = apis.compiled(
    "model",
    tf.distribute.get_strategy(),
    2,
    1.0,
    clipping={"microbatches": 3},
  )
  with pytest.raises(ValueError, match="microbatches=3, per-core batch=2"):
    model.fit(apis.batches([[[3, 4]]]), verbose=0)


def network(cls=tf_pcc.PerCoreModel):
  inputs = keras.Input((3,))
  h = keras.layers.Dense(4, "tanh")(inputs)
  return cls(inputs, keras.layers.Dense(2)(h))


def draw(rows):
  rng = np.random.default_rng(2)
  x = rng.normal(size=(rows, 3)) * rng.lognormal(size=(rows, 1))
  return x.astype("f"), rng.normal(size=(rows, 2)).astype("f")


@pytest.mark.parametrize(
  ("bound", "kind"),
  [
    (0.5, {"kind": "fixed", "norm": 0.5}),
    (tf_pcc.QuantileBound(0.5), {"kind": "quantile", "quantile": 0.5}),
  ],
)
@pytest.mark.parametrize("cores", [1, 2])
def test_per_example_clipping_is_brute_force(make_strategy, cores, bound, kind):
  """Every example's gradient by itself; metrics, loss and cosine as well."""
  rows = 4 * cores
  x, y = draw(rows)
  with make_strategy(cores).scope():
    model = network()
    model.compile(
      keras.optimizers.SGD(RATE),
      loss="mse",
      metrics=["mae"],
      clipping=tf_pcc.Clipping(bound, microbatches=4, track_cosine=True),
    )
  plain = network(keras.Model)
  plain.set_weights(model.get_weights())
  history = model.fit(x, y, batch_size=rows, shuffle=False, verbose=0).history
  gradients = reference.gradient_function(plain)
  units = [gradients(x[i : i + 1], y[i : i + 1]) for i in range(rows)]
  mean = reference.clipped_mean(units, reference.Bound(**kind))
  for found, before, g in zip(model.get_weights(), plain.get_weights(), mean):
    np.testing.assert_allclose(found, before - RATE * g, rtol=1e-5, atol=1e-7)
  error = plain(x).numpy() - y
  np.testing.assert_allclose(history["loss"], [(error**2).mean()], rtol=1e-5)
  np.testing.assert_allclose(history["mae"], [np.abs(error).mean()], rtol=1e-5)
  unclipped = [np.mean(g, axis=0) for g in zip(*units)]
  dot = sum((a * b).sum() for a, b in zip(mean, unclipped))
  cosine = dot / reference.norm(mean) / reference.norm(unclipped)
  assert cosine < 0.999
  np.testing.assert_allclose(history["update_cosine"], [cosine], rtol=1e-5)
  norms = [reference.norm(g) for g in units]
  np.testing.assert_allclose(history["core_norm_max"], [max(norms)], rtol=1e-5)
  np.testing.assert_allclose(
    history["core_norm_mean"], [np.mean(norms)], rtol=1e-5
  )


@pytest.mark.parametrize("api", apis.APIS)
def test_cosine_of_cores_ignores_the_dead(api, make_strategy):
  steps = [[[3, 4], [np.nan, 0], [0, 2], [-1, 0]]]
  model = apis.compiled(
    api, make_strategy(4), 2, 1.0, clipping={"track_cosine": True}
  )
  apis.update(model, steps)
  update = np.array([0.6 - 1, 0.8 + 1])
  unclipped = np.array([3.0 - 1, 4 + 2])
  np.testing.assert_allclose(
    model.optimizer.statistics()["update_cosine"],
    update @ unclipped / np.linalg.norm(update) / np.linalg.norm(unclipped),
    rtol=1e-5,
  )


def test_metrics_equal_those_of_a_stock_run():
  """Compiled metrics see every row once, in order, with its weight."""
  x, y = draw(16)
  weights = np.arange(16, dtype=np.float32)
  found = []
  for cls in (tf_pcc.PerCoreModel, keras.Model):
    keras.utils.set_random_seed(1)
    model = network(cls)
    options = {}
    if cls is tf_pcc.PerCoreModel:
      options["clipping"] = tf_pcc.Clipping(np.inf, microbatches=4)
    model.compile(
      keras.optimizers.SGD(0.0),
      loss="mae",
      metrics=["mse"],
      weighted_metrics=["mae"],
      **options,
    )
    found.append(
      model.fit(
        x,
        y,
        sample_weight=weights,
        batch_size=8,
        shuffle=False,
        verbose=0,
      ).history
    )
  for name in found[1]:
    np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-6)


@pytest.mark.parametrize(("cores", "bound"), [(1, 1.0), (2, tf_pcc.MinBound())])
def test_dropout_differs_between_microbatches(make_strategy, cores, bound):
  """The loop draws a new mask for every micro-batch."""

  class Records(tf_pcc.PerCoreModel):
    def __init__(self):
      super().__init__()
      self.dense = keras.layers.Dense(64, kernel_initializer="ones")
      self.dropout = keras.layers.Dropout(0.5, seed=3)

    def call(self, x, training=False):
      return self.dropout(self.dense(x), training=training)

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
      # A ramp, so that the norm tells one mask from another.
      return tf.reduce_mean(y_pred * tf.range(64.0))

  with make_strategy(cores).scope():
    model = Records()
    model.compile(
      keras.optimizers.SGD(1e-3),
      clipping=tf_pcc.Clipping(bound, microbatches=2),
    )
  model.fit(np.ones((4, 1), "f"), np.ones((4, 1), "f"), batch_size=4, verbose=0)
  norms = {v.name: v for v in model.optimizer.variables}["norms"].numpy()
  # Equal masks would give equal norms on equal rows.
  assert len(set(norms.reshape(cores, 2)[0])) == 2
  assert np.isfinite(norms).all()


@pytest.mark.parametrize("bound", [tf_pcc.MinBound(), 1.0])
def test_batch_normalization_inside_the_loop(bound):
  """Its moving statistics take one step a micro-batch, in order."""
  inputs = keras.Input((2,))
  normal = keras.layers.BatchNormalization(momentum=0.5)
  outputs = keras.layers.Dense(1)(normal(inputs))
  model = tf_pcc.PerCoreModel(inputs, outputs)
  model.compile(
    "sgd", loss="mse", clipping=tf_pcc.Clipping(bound, microbatches=2)
  )
  x = np.array([[1, 0], [3, 2], [5, 8], [9, 4]], np.float32)
  model.fit(x, np.ones((4, 1), "f"), batch_size=4, shuffle=False, verbose=0)
  first, second = x[:2].mean(0), x[2:].mean(0)
  np.testing.assert_allclose(
    normal.moving_mean.numpy(), 0.25 * first + 0.5 * second, rtol=1e-6
  )


def test_uneven_cores_count_by_examples(make_strategy):
  """Four rows and two rows, each cut in two."""
  x = np.array([[3, 4]] * 2 + [[0, 2]] * 2 + [[6, 8], [0, 0.5]], "f")
  strategy = make_strategy(2)
  model = apis.compiled(
    "model",
    strategy,
    2,
    1.0,
    clipping={"microbatches": 2, "core_weights": "examples"},
  )
  with strategy.scope():
    model.optimizer.build(model.trainable_variables)
  values = strategy.experimental_distribute_values_from_function(
    lambda context: tf.constant(
      x[:4] if context.replica_id_in_sync_group == 0 else x[4:]
    )
  )

  @tf.function
  def step(values):
    strategy.run(
      lambda part: model.train_step((part, tf.zeros((len(part), 1)))),
      args=(values,),
    )

  step(values)
  units = np.array([[0.6, 0.8], [0, 1], [0.6, 0.8], [0, 0.5]])
  expected = (2 * units[:2].sum(0) + 1 * units[2:].sum(0)) / 6
  np.testing.assert_allclose(-model.get_weights()[0][:, 0], expected, rtol=1e-6)


def test_unconnected_variables_stay_none():
  """Also inside the loop, where zeros stand in for them."""
  inputs = keras.Input((2,))
  used = keras.layers.Dense(1, use_bias=False)
  loose = keras.layers.Dense(1, use_bias=False)
  outputs = used(inputs) + keras.ops.stop_gradient(loose(inputs))
  for bound in (1.0, tf_pcc.MinBound()):
    model = tf_pcc.PerCoreModel(inputs, outputs)
    model.compile(
      # Decay would move a variable whose gradient is zero, not None.
      keras.optimizers.SGD(0.1, momentum=0.9),
      loss="mse",
      clipping=tf_pcc.Clipping(bound, microbatches=2),
    )
    before = loose.get_weights()[0]
    model.fit(
      np.ones((4, 2), "f"), np.ones((4, 1), "f"), batch_size=4, verbose=0
    )
    np.testing.assert_array_equal(loose.get_weights()[0], before)


@pytest.mark.parametrize("bound", [1.0, tf_pcc.MinBound()])
def test_a_subclass_is_built_by_its_first_step(bound):
  """Without a strategy Keras builds nothing before the step is traced."""

  class Net(tf_pcc.PerCoreModel):
    def __init__(self):
      super().__init__()
      self.dense = keras.layers.Dense(1, kernel_initializer="zeros")

    def call(self, x):
      return self.dense(x)

  model = Net()
  model.compile(
    keras.optimizers.SGD(1.0),
    loss=apis.linear_loss,
    clipping=tf_pcc.Clipping(bound, microbatches=2),
  )
  x = np.array([[3, 4], [0, 1]], np.float32)
  model.fit(x, np.zeros((2, 1), "f"), batch_size=2, shuffle=False, verbose=0)
  # The bias' gradient is 1.
  norms = np.sqrt([26, 2])
  rho = 1.0 if bound == 1.0 else norms.min()
  expected = (x * np.minimum(1, rho / norms)[:, None]).mean(0)
  np.testing.assert_allclose(-model.get_weights()[0][:, 0], expected, rtol=1e-6)

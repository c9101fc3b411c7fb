"""The optimizer's API in stock fit: what must work, and what is refused."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import apis
from tests.apis import batches, compiled, update

CORES = 4
INF = np.inf
# Norms 5, 10, 13 and 1, twice as steep in the second step.
STEP = np.array([[3, 4], [6, 8], [5, 12], [0.6, 0.8]], np.float32)
STEPS = np.stack([STEP, 2 * STEP])


def clipped(rho, gradients=STEP):
  norms = np.linalg.norm(gradients, axis=1, keepdims=True)
  return (gradients * np.minimum(1, rho / norms)).mean(0)


def same_as_stock(make_strategy, optimizer):
  """Trains with an infinite bound and without one; returns both models."""
  models = []
  for bound in (INF, None):
    model = compiled("optimizer", make_strategy(CORES), 2, bound, optimizer)
    update(model, STEPS, epochs=2)
    models.append(model)
  return models


@pytest.mark.parametrize(
  "optimizer",
  [
    lambda: keras.optimizers.SGD(
      keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    ),
    lambda: keras.optimizers.AdamW(0.1, weight_decay=0.3),
    lambda: keras.optimizers.SGD(0.1, momentum=0.5, nesterov=True),
    lambda: keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5),
    lambda: keras.optimizers.Lion(0.1),
  ],
  ids=["schedule", "weight decay", "nesterov", "average", "lion"],
)
def test_any_inner_optimizer_trains_as_it_does_alone(make_strategy, optimizer):
  ours, stock = same_as_stock(make_strategy, optimizer)
  np.testing.assert_allclose(
    ours.get_weights()[0], stock.get_weights()[0], rtol=1e-6
  )
  inner = ours.optimizer.inner_optimizer
  assert len(inner.variables) == len(stock.optimizer.variables)
  for a, b in zip(inner.variables, stock.optimizer.variables):
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
  assert int(ours.optimizer.iterations.numpy()) == 4


def test_schedule_and_clipping_together(make_strategy):
  schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.5])
  model = compiled(
    "optimizer",
    make_strategy(CORES),
    2,
    tf_pcc.MinBound(),
    lambda: keras.optimizers.SGD(schedule),
  )
  found = update(model, STEPS[[0, 0, 1]])
  expected = clipped(1.0) * 2 + clipped(2.0, STEPS[1]) * 0.5
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  np.testing.assert_allclose(model.optimizer.learning_rate.numpy(), 0.5)


def test_learning_rate_scheduler(make_strategy):
  model = compiled("optimizer", make_strategy(CORES), 2, 1.0)
  found = update(
    model,
    [STEP],
    epochs=2,
    callbacks=[
      keras.callbacks.LearningRateScheduler(lambda epoch: [1.0, 0.25][epoch])
    ],
  )
  np.testing.assert_allclose(found, clipped(1.0) * 1.25, rtol=1e-6)
  np.testing.assert_allclose(
    model.optimizer.inner_optimizer.learning_rate.numpy(), 0.25
  )


def test_reduce_on_plateau(make_strategy):
  model = compiled("optimizer", make_strategy(CORES), 2, 1.0)
  plateau = keras.callbacks.ReduceLROnPlateau(
    monitor="loss", factor=0.5, patience=1, min_delta=1e9
  )
  history = model.fit(
    batches([STEP]), epochs=3, verbose=0, callbacks=[plateau]
  ).history
  np.testing.assert_allclose(history["learning_rate"], [1.0, 1.0, 0.5])
  np.testing.assert_allclose(model.optimizer.learning_rate.numpy(), 0.25)


def test_average_is_swapped_in_for_evaluation(make_strategy):
  def make():
    return keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)

  class Seen(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
      self.trained = self.model.get_weights()[0][:, 0]

    def on_test_begin(self, logs=None):
      self.averaged = self.model.get_weights()[0][:, 0]

  model = compiled("optimizer", make_strategy(CORES), 2, 1.0, make)
  seen = Seen()
  data = batches([STEP, STEP])
  model.fit(
    data,
    validation_data=data,
    verbose=0,
    callbacks=[keras.callbacks.SwapEMAWeights(), seen],
  )
  np.testing.assert_allclose(seen.trained, -2 * clipped(1.0), rtol=1e-6)
  # Keras starts the average at the first step's weights.
  average = -1.5 * clipped(1.0)
  np.testing.assert_allclose(seen.averaged, average, rtol=1e-6)
  # fit ends with the average in the weights, as Keras' optimizers do.
  np.testing.assert_allclose(model.get_weights()[0][:, 0], average, rtol=1e-6)


def test_tensorboard_and_csv_hold_the_statistics(make_strategy, tmp_path):
  model = compiled("optimizer", make_strategy(CORES), 2, tf_pcc.MinBound())
  model.fit(
    batches(STEPS),
    verbose=0,
    callbacks=[
      tf_pcc.ClippingMonitor(),
      keras.callbacks.TensorBoard(tmp_path, update_freq=1),
      keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ],
  )
  with open(tmp_path / "log.csv", newline="") as file:
    (row,) = csv.DictReader(file)
  assert float(row["clip_bound"]) == 2.0
  assert float(row["core_norm_max"]) == 26.0
  tags = {}
  for path in tmp_path.glob("train/*tfevents*"):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        tags.setdefault(value.tag, []).append(
          float(tf.make_ndarray(value.tensor))
          if value.HasField("tensor") and value.tensor.dtype == 1
          else None
        )
  assert tags["batch_clip_bound"] == [1.0, 2.0]
  assert tags["epoch_core_norm_max"] == [26.0]


def test_inner_optimizer_by_name():
  optimizer = tf_pcc.PerCoreClipping("adam", 2.5)
  assert isinstance(optimizer.inner_optimizer, keras.optimizers.Adam)
  assert optimizer.clipping.bound.norm == 2.5


@pytest.mark.parametrize(
  "options", [{"run_eagerly": True}, {"steps_per_execution": 2}], ids=str
)
@pytest.mark.parametrize("api", apis.APIS)
def test_ways_to_run_the_step(make_strategy, api, options):
  model = compiled(api, make_strategy(CORES), 2, tf_pcc.MinBound(), **options)
  found = update(model, STEPS)
  np.testing.assert_allclose(found, 3 * clipped(1.0), rtol=1e-6)
  assert model.optimizer.statistics()["clip_bound"] == 2.0


@pytest.mark.parametrize("bound", [tf_pcc.MinBound(), 1.0])
@pytest.mark.parametrize("api", apis.APIS)
def test_jit_compile_on_one_device(api, bound):
  one = tf.distribute.get_strategy()
  clipping = {"microbatches": 2} if api == "model" else {}
  model = compiled(api, one, 2, bound, jit_compile=True, clipping=clipping)
  found = update(model, [[[3, 4]], [[0, 0]], [[6, 8]]])
  expected = clipped(1.0, STEP[:1]) * 2 if bound == 1.0 else [9, 12]
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert int(model.optimizer.iterations.numpy()) == 2
  assert model.optimizer.statistics()["skipped_steps"] == 1


def test_apply_gradients_and_one_core_without_strategy():
  w = keras.Variable([1.0, 1.0])
  optimizer = tf_pcc.PerCoreClipping(keras.optimizers.SGD(1.0), 1.0)
  optimizer.apply_gradients([(tf.constant([3.0, 4.0]), w)])
  np.testing.assert_allclose(w.numpy(), [0.4, 0.2], rtol=1e-6)
  optimizer.apply([tf.constant([3.0, 4.0])])
  np.testing.assert_allclose(w.numpy(), [-0.2, -0.6], rtol=1e-6)


def test_learning_rate_is_the_inner_optimizers():
  optimizer = tf_pcc.PerCoreClipping(keras.optimizers.SGD(0.5), 1.0)
  optimizer.learning_rate = 0.125
  assert float(optimizer.inner_optimizer.learning_rate.numpy()) == 0.125
  assert float(optimizer.learning_rate.numpy()) == 0.125


def test_weight_decay_can_exclude_variables():
  w, b = keras.Variable([1.0], name="w"), keras.Variable([1.0], name="b")
  optimizer = tf_pcc.PerCoreClipping(
    keras.optimizers.SGD(1.0, weight_decay=0.5), 1.0
  )
  optimizer.exclude_from_weight_decay(var_names=["b"])
  optimizer.apply([tf.constant([1e-3]), tf.constant([1e-3])], [w, b])
  np.testing.assert_allclose(w.numpy(), [0.499], rtol=1e-5)
  np.testing.assert_allclose(b.numpy(), [0.999], rtol=1e-5)


def test_config_round_trip():
  optimizer = tf_pcc.PerCoreClipping(
    keras.optimizers.AdamW(0.1),
    tf_pcc.RunningBound(0.9, "quantile", 0.25),
    batch_clip_norm=3,
    dead_cores="live",
    track_cosine=True,
    name="mine",
  )
  config = keras.saving.serialize_keras_object(optimizer)
  other = keras.saving.deserialize_keras_object(config)
  assert other.get_config() == optimizer.get_config()
  assert isinstance(other.inner_optimizer, keras.optimizers.AdamW)
  assert other.name == "mine"


def test_optimizer_of_microbatches_alone_has_no_config():
  clipping = tf_pcc.Clipping(1.0, microbatches=2)
  optimizer = tf_pcc.PerCoreClipping.from_clipping("sgd", clipping)
  with pytest.raises(ValueError, match="Received: microbatches=2"):
    optimizer.get_config()


# Refusals.

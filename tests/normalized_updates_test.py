"""The update divided by the bound: how exactly, and what it is for."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import apis, reference
from tests.clipping_test import MODES
from tests.exactness_test import Trajectory
from tf_pcc import clipping, units

NAN, INF = np.nan, np.inf
CORES = 8
MIN = tf_pcc.MinBound()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
  "bound", [0.0, 1e-38, 1e-30, 1e-12, 0.3, 1.0, 1e12, 1e37, 3e38, INF, NAN]
)
def test_factors_of_tiny_and_huge_bounds(bound, mode):
  """1 / rho and 1 / ||g|| would overflow, or lose a denormal."""
  norms = np.float32([1e-29, 1e-12, 0.3, 1, 7, 1e12, 1e37, 0, NAN, INF])
  live = np.isfinite(norms) & (norms > 0)
  found = MODES[mode](lambda n: clipping.clip_factor(n, bound, normalize=True))(
    tf.constant(norms)
  ).numpy()
  assert np.isfinite(found).all()
  np.testing.assert_array_equal(found[~live], 0)
  larger = np.fmax(norms[live].astype(np.float64), np.float32(bound))
  np.testing.assert_allclose(found[live], 1 / larger, rtol=3e-7, atol=1e-38)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("bound", [0.0, 1e-30, 1e-12, 1.0, 1e12])
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_divided_gradients(size, bound, dtype):
  """The norm is at most 1, and exact to the gradient's own precision."""
  rng = np.random.default_rng(0)
  exact = rng.normal(size=(64, 33)) * size
  gradient = tf.cast(tf.constant(exact), dtype)
  unit = units.WholeBatch([gradient, None], scale=1.0)
  factors = clipping.clip_factor(unit.norms, bound, normalize=True)
  found, none = unit.clipped(factors, tf.ones(1))
  assert none is None
  assert found.dtype == dtype
  found = tf.cast(found, tf.float64).numpy()
  gradient = tf.cast(gradient, tf.float64).numpy()
  expected = gradient / max(bound, np.linalg.norm(gradient))
  rtol = 2**-8 if dtype == "bfloat16" else 2e-6
  np.testing.assert_allclose(found, expected, rtol=rtol)
  assert np.linalg.norm(found) <= 1 + rtol


# Norms 5, 10, 13, 1 and dead ones; None: all dead.
STEPS = np.float32(
  [
    [[3, 4], [6, 8], [5, 12], [0.6, 0.8], [0, 0], [NAN, 1], [INF, 0], [0, 2]],
    [[NAN, NAN]] * 8,
    [[3, 4], [0, 0], [0, 0], [0, 0], [0, 0], [NAN, 1], [INF, 0], [0, -INF]],
    [[30, 40], [6, 8], [5, 1], [6, 8], [1, 1], [2, 1], [0, 0.1], [0, 2]],
  ]
)
BOUNDS = {
  "fixed": (tf_pcc.FixedBound(3.0), {"kind": "fixed", "norm": 3.0}),
  "min": (MIN, {"kind": "min"}),
  "quantile": (
    tf_pcc.QuantileBound(0.4),
    {"kind": "quantile", "quantile": 0.4},
  ),
  "running": (
    tf_pcc.RunningBound(0.7),
    {"kind": "running", "decay": 0.7, "statistic": "min"},
  ),
}


@pytest.mark.parametrize(
  ("api", "bound", "dead_cores", "batch_clip_norm"),
  [
    ("model", "fixed", "fixed", 0.3),
    ("optimizer", "fixed", "live", None),
    ("model", "min", "live", 1.0),
    ("optimizer", "min", "fixed", None),
    ("model", "quantile", "fixed", None),
    ("optimizer", "quantile", "live", 0.3),
    ("model", "running", "live", None),
    ("optimizer", "running", "fixed", 0.3),
  ],
)
def test_dead_cores_and_batch_clipping(
  api, bound, dead_cores, batch_clip_norm, make_strategy
):
  rule, numbers = BOUNDS[bound]
  model = apis.compiled(
    api,
    make_strategy(CORES),
    2,
    rule,
    clipping={
      "normalize": True,
      "dead_cores": dead_cores,
      "batch_clip_norm": batch_clip_norm,
    },
  )
  rule = reference.Bound(**numbers)
  trajectory = Trajectory()
  apis.update(model, STEPS, callbacks=[trajectory])
  weights = np.zeros(2)
  for step, (now,) in zip(STEPS, trajectory.weights):
    found, weights = weights - now[:, 0], now[:, 0]
    expected = reference.clipped_mean(
      [[g] for g in step], rule, dead_cores, batch_clip_norm, normalize=True
    )
    expected = np.zeros(2) if expected is None else expected[0]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    # A step of SGD(1) is at most 1 long.
    assert np.linalg.norm(found) <= min(1.0, batch_clip_norm or 1.0) + 1e-5
  assert model.optimizer.statistics()["skipped_steps"] == 1


def test_batch_clipping_from_one_on_does_nothing(make_strategy):
  """It bounds the divided update, whose norm is at most 1."""
  found = [
    apis.update(
      apis.compiled(
        "model",
        make_strategy(2),
        2,
        MIN,
        clipping={"normalize": True, "batch_clip_norm": norm},
      ),
      [[[3, 4], [3, 5]]],
    )
    for norm in (None, 1.0)
  ]
  np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("microbatches", [1, 2])
def test_cores_that_count_by_examples(bound, microbatches, make_strategy):
  """Four rows on the first core, two on the second."""
  x = np.array([[3, 4]] * 2 + [[0, 2]] * 2 + [[6, 8], [0, 0.5]], "f")
  rule, numbers = BOUNDS[bound]
  strategy = make_strategy(2)
  model = apis.compiled(
    "model",
    strategy,
    2,
    rule,
    clipping={
      "normalize": True,
      "microbatches": microbatches,
      "core_weights": "examples",
    },
  )
  with strategy.scope():
    model.optimizer.build(model.trainable_variables)
  values = strategy.experimental_distribute_values_from_function(
    lambda context: tf.constant(
      x[:4] if context.replica_id_in_sync_group == 0 else x[4:]
    )
  )

  def step(part):
    model.train_step((part, tf.zeros((len(part), 1))))

  tf.function(lambda v: strategy.run(step, args=(v,)))(values)
  rows = [
    part for core in (x[:4], x[4:]) for part in np.split(core, microbatches)
  ]
  expected = reference.clipped_mean(
    [[part.mean(0)] for part in rows],
    reference.Bound(**numbers),
    normalize=True,
    weights=[len(part) for part in rows],
  )
  np.testing.assert_allclose(
    -model.get_weights()[0][:, 0], expected[0], rtol=1e-5
  )


@pytest.mark.parametrize("normalize", [True, False])
def test_divided_by_the_smallest_norm_no_microbatch_is_kept(
  normalize, monkeypatch
):
  """Every unit is divided by its own norm, whatever the others' are."""
  stacked = []
  original = units.StackedMicrobatches

  def spy(*args):
    stacked.append(args)
    return original(*args)

  monkeypatch.setattr("tf_pcc.microbatches.StackedMicrobatches", spy)
  model = apis.compiled(
    "model",
    tf.distribute.get_strategy(),
    2,
    MIN,
    clipping={"normalize": normalize, "microbatches": 2, "track_cosine": True},
  )
  x = np.array([[3, 4], [0, 0.5]], "f")
  model.fit(x, np.zeros((2, 1)), batch_size=2, shuffle=False, verbose=0)
  assert bool(stacked) is not normalize
  # The statistics are in units of the gradient all the same.
  statistics = model.optimizer.statistics()
  assert statistics["clip_bound"] == 0.5
  update, mean = np.array([0.6, 1.8]), np.array([3, 4.5])
  np.testing.assert_allclose(
    statistics["update_cosine"],
    update @ mean / np.linalg.norm(update) / np.linalg.norm(mean),
    rtol=1e-6,
  )


# What for.


@pytest.mark.parametrize("normalize", [True, False])
def test_adam_keeps_its_step_when_gradients_fall(normalize, make_strategy):
  """Fifteen times smaller after 40 steps, as in the first of a recogniser."""
  rng = np.random.default_rng(0)
  steps = 60
  sizes = np.geomspace(300, 20, 40).tolist() + [20.0] * (steps - 40)
  gradients = rng.normal(size=(steps, 2, 50)) + 1
  gradients *= np.array(sizes)[:, None, None]
  model = apis.compiled(
    "model",
    make_strategy(2),
    50,
    MIN,
    lambda: keras.optimizers.Adam(1.0),
    clipping={"normalize": normalize},
  )
  apis.update(model, gradients[:-1])
  found = np.abs(apis.update(model, gradients[-1:])).mean()
  if normalize:
    assert found > 0.8
  else:
    assert found < 0.3


# Saving.


def test_config_round_trip():
  for normalize in ("auto", True, False):
    for thing in (
      tf_pcc.Clipping(MIN, normalize=normalize),
      tf_pcc.PerCoreClipping("adam", MIN, normalize=normalize),
    ):
      config = keras.saving.serialize_keras_object(thing)
      other = keras.saving.deserialize_keras_object(
        json.loads(json.dumps(config))
      )
      assert other.get_config() == thing.get_config()
      assert other.get_config()["normalize"] == normalize


@pytest.mark.parametrize("api", apis.APIS)
def test_configs_of_older_versions_do_not_divide(
  api, make_strategy, tmp_path, monkeypatch
):
  strategy = make_strategy(2)
  whole = tf_pcc.Clipping.get_config

  def without(self):
    config = whole(self)
    del config["normalize"]
    return config

  def fit():
    model = apis.compiled(
      api,
      strategy,
      2,
      MIN,
      lambda: keras.optimizers.Adam(0.1),
      clipping={"normalize": False},
    )
    apis.update(model, STEPS[3:, :2])
    return model

  model = fit()
  with monkeypatch.context() as patch:
    patch.setattr(tf_pcc.Clipping, "get_config", without)
    model.save(tmp_path / "old.keras")
  with strategy.scope():
    other = keras.saving.load_model(
      tmp_path / "old.keras", custom_objects={"linear_loss": apis.linear_loss}
    )
  assert other.optimizer.clipping.normalize is False
  np.testing.assert_array_equal(
    apis.update(other, STEPS[:1, :2]), apis.update(model, STEPS[:1, :2])
  )

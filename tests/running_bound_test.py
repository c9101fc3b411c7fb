"""The running bound: where it starts, what moves it and what must not."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import apis
from tests.bounds_test import both, compute, empty, steps
from tests.conftest import mirrored
from tf_pcc.clipper import Clipper

NAN, INF = np.nan, np.inf
UNITS = 8
# What the norms are like when nothing is wrong: 20, give or take a third.
LEVEL = 20.0


@pytest.mark.parametrize("units", [1, 2, 8])
def test_without_decay_it_is_min_bound_bit_for_bit(units):
  running, least = tf_pcc.RunningBound(0.0, "min"), tf_pcc.MinBound()
  step = tf.function(both(running))
  state = empty(running, units)
  for norms in steps(200, units, seed=1):
    # Outliers too.
    norms *= np.float32(10.0) ** (np.arange(units) * 3 - 6)
    rho, state = compute(norms, state, step)
    expected, _ = compute(norms, {}, least.compute)
    assert rho.numpy() == expected.numpy()


@pytest.mark.parametrize("statistic", tf_pcc.RunningBound.STATISTICS)
def test_the_start_is_corrected_for(statistic):
  """A constant norm is its own running average from the first step on."""
  bound = tf_pcc.RunningBound(0.99, statistic)
  state = empty(bound, 3)
  for _ in range(5):
    rho, state = compute(np.full(3, 7.0, "f"), state, both(bound))
    np.testing.assert_allclose(rho, 7.0, rtol=1e-6)


def test_dead_units_keep_their_state():
  bound = tf_pcc.RunningBound(0.5)
  _, before = compute(np.float32([4, 2]), empty(bound, 2), both(bound))
  rho, after = compute(np.float32([8, NAN]), before, both(bound))
  for name in bound.state_names:
    assert after[name][1] == before[name][1]
  # Only the live unit counts: the logarithms weigh 1 / 4 and 1 / 2.
  np.testing.assert_allclose(rho, 4 ** (1 / 3) * 8 ** (2 / 3), rtol=1e-6)


def norms_of(count, seed=0):
  rng = np.random.default_rng(seed)
  return (LEVEL * rng.lognormal(0, 0.3, (count, UNITS))).astype(np.float32)


def spike_once(norms, unit, when, size):
  norms[when, unit] = size


def forever(norms, unit, when, size):
  norms[when:, unit] = size


ACCIDENTS = {
  "one spike on one": (spike_once, 3, 60, 1e15),
  "one spike on all": (spike_once, slice(None), 60, 1e15),
  "a spike on one at the start": (spike_once, 3, 0, 1e15),
  "tiny once": (spike_once, 3, 60, 1e-12),
  "tiny once on all": (spike_once, slice(None), 60, 1e-12),
  "tiny at the start": (spike_once, 3, 0, 1e-12),
  "tiny for ever": (forever, 3, 0, 1e-12),
  "tiny from somewhere on": (forever, 3, 60, 1e-12),
  "huge for ever": (forever, 3, 0, 1e12),
  "one dead for ever": (forever, 3, 0, NAN),
  "one dead from somewhere on": (forever, 3, 60, 0.0),
  "three dead for ever": (forever, slice(1, 4), 0, INF),
  "all dead once": (spike_once, slice(None), 60, NAN),
}


@pytest.mark.parametrize("decay", [0.9, 0.99])
@pytest.mark.parametrize("statistic", tf_pcc.RunningBound.STATISTICS)
@pytest.mark.parametrize("accident", ACCIDENTS)
def test_the_bound_stays_where_the_others_are(accident, statistic, decay):
  what, *arguments = ACCIDENTS[accident]
  bound = tf_pcc.RunningBound(decay, statistic)
  step = tf.function(both(bound))
  found = []
  for accidents in (False, True):
    norms = norms_of(100)
    if accidents:
      what(norms, *arguments)
    state = empty(bound, UNITS)
    rhos = []
    for row in norms:
      rho, state = compute(row, state, step)
      rhos.append(float(rho))
    found.append(rhos)
  plain, with_accident = np.array(found)
  if accident == "all dead once":
    # There is no bound, and no step.
    with_accident[60] = plain[60]
  # A decay of 0.9 lets one outlier count a tenth: 10 ** 0.1 = 1.26.
  np.testing.assert_allclose(with_accident, plain, rtol=0.35)


@pytest.mark.parametrize("factor", [1e-13, 1e-4, 1e4, 1e13])
@pytest.mark.parametrize("before", [1, 50])
def test_a_new_level_is_followed(before, factor):
  """Three steps in a row are none that an accident takes."""
  bound = tf_pcc.RunningBound(0.99, "median")
  step = tf.function(both(bound))
  state = empty(bound, UNITS)
  norms = np.concatenate([norms_of(before), factor * norms_of(4, seed=1)])
  rhos = []
  for row in norms.astype("f"):
    rho, state = compute(row, state, step)
    rhos.append(rho / (LEVEL * factor))
  assert 0.5 < rhos[-1] < 2
  if before > 1:
    np.testing.assert_allclose(np.float32(rhos[-3]) * factor, 1, rtol=0.2)


def test_what_a_running_norm_forgets():
  """Without the limits a spike moves the average of logarithms, not more."""
  bound = tf_pcc.RunningBound(0.99, "mean", outlier_factor=INF)
  step = tf.function(both(bound))
  state = empty(bound, 1)
  for _ in range(500):
    _, state = compute(np.float32([LEVEL]), state, step)
  rho, state = compute(np.float32([1e15]), state, step)
  np.testing.assert_allclose(
    np.log(rho / LEVEL), 0.01 * np.log(1e15 / LEVEL), rtol=0.02
  )


def quadratic(optimizer, accident):
  """Weights and statistics of a quadratic on four cores, fitted in 60 steps."""
  rng = np.random.default_rng(0)
  targets = rng.normal(size=(60, 4, 3)).astype(np.float32) * 0.1 + [1, 2, 3]
  with mirrored(4).scope():
    inputs = keras.Input((3,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = tf_pcc.PerCoreModel(inputs, layer(inputs))
    model.compile(
      getattr(keras.optimizers, optimizer)(0.1),
      loss="mse",
      clipping=tf_pcc.Clipping(tf_pcc.RunningBound(0.9)),
    )
  # Rows are three unit vectors; the prediction is the weights.
  x = np.tile(np.eye(3, dtype="f"), (60 * 4, 1))
  y = targets.reshape(-1, 1).astype(np.float32)
  if accident:
    rows = slice(30 * 12 + 3, 30 * 12 + 6)
    y[rows] = {"spike": 1e15, "tiny": y[rows], "dead": NAN}[accident]
  if accident == "tiny":
    # The second core's loss is flat from there on.
    for step in range(30, 60):
      x[step * 12 + 3 : step * 12 + 6] *= 1e-8
  data = tf.data.Dataset.from_tensor_slices((x, y))
  model.fit(apis.handed_out(model.distribute_strategy, data, 12), verbose=0)
  return layer.get_weights()[0][:, 0], model.optimizer.statistics()


@functools.cache
def without_accident(optimizer):
  return quadratic(optimizer, None)


@pytest.mark.parametrize("accident", ["spike", "tiny", "dead"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_training_survives(optimizer, accident):
  """It ends where it ends without the accident."""
  plain, before = without_accident(optimizer)
  found, after = quadratic(optimizer, accident)
  np.testing.assert_allclose(plain, [1, 2, 3], atol=0.3)
  np.testing.assert_allclose(found, plain, atol=0.4)
  assert after["skipped_steps"] == 0
  assert 0.2 < after["clip_bound"] / before["clip_bound"] < 5


# State.


def test_resized_state_is_quantiles_of_the_averages():
  bound = tf_pcc.RunningBound(0.9)
  state = {
    "log_average": np.float32([1.0, 3.0, 99.0, 8.0]),
    "weight": np.float32([0.5, 1.0, 0.0, 1.0]),
    "outliers": np.float32([0, 2, 0, -1]),
  }
  for units in (1, 2, 5):
    found = bound.resize_state(state, units)
    np.testing.assert_allclose(
      found["log_average"], np.quantile([1, 3, 8], np.linspace(0, 1, units))
    )
    # As much is known of each as of the least known.
    np.testing.assert_array_equal(found["weight"], np.full(units, 0.5))
    np.testing.assert_array_equal(found["outliers"], np.zeros(units))
    assert {v.dtype for v in found.values()} == {np.dtype("float32")}
  nothing = {name: np.zeros(4, "f") for name in bound.state_names}
  found = bound.resize_state(nothing, 2)
  np.testing.assert_array_equal(found["weight"], [0, 0])


@pytest.mark.parametrize("units", [3, 2])
def test_arithmetic_averages_of_older_checkpoints(units, monkeypatch):
  """They are converted, and that is said once."""
  said = []
  monkeypatch.setattr("absl.logging.warning", lambda *a: said.append(a))
  clipper = Clipper(
    tf_pcc.Clipping(tf_pcc.RunningBound(0.9), microbatches=units)
  )
  old = {
    "norms": np.float32([1, 2, 3]),
    "bound": np.float32(1.5),
    "bound_average": np.float32([0.5, 0.0, 8.0]),
    "bound_weight": np.float32([0.25, 0.0, 1.0]),
    "skipped_steps": np.int32(7),
  }
  clipper.load(old)
  clipper.build()
  assert len(said) == 1
  assert "converted" in said[0][0]
  found = clipper.save()
  if units == 3:
    np.testing.assert_allclose(found["bound_log_average"], np.log([2, 1, 8]))
    np.testing.assert_array_equal(found["bound_weight"], old["bound_weight"])
  else:
    np.testing.assert_allclose(found["bound_log_average"], np.log([2, 8]))
    np.testing.assert_array_equal(found["bound_weight"], [0.25, 0.25])
  assert found["skipped_steps"] == 7
  other = Clipper(clipper.clipping)
  other.build()
  other.load(found)
  assert len(said) == 1


# Arguments.


@pytest.mark.parametrize("value", [-0.1, 1.1, NAN, "0.5", None, True])
def test_fractions(value):
  with pytest.raises(ValueError, match="Received: quantile="):
    tf_pcc.RunningBound(quantile=value)
  with pytest.raises(ValueError, match="Received: decay="):
    tf_pcc.RunningBound(decay=value)


@pytest.mark.parametrize("value", [1, 0.5, 0, -1, NAN, "2", None, True])
def test_outlier_factor(value):
  with pytest.raises(ValueError, match="outlier_factor must be .*Received: "):
    tf_pcc.RunningBound(outlier_factor=value)


def test_other_errors():
  with pytest.raises(ValueError, match=r"below 1. Received: decay=1.0"):
    tf_pcc.RunningBound(decay=1)
  with pytest.raises(ValueError, match="Received: statistic='max'"):
    tf_pcc.RunningBound(statistic="max")

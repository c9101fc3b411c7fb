"""Every bound against NumPy, with dead units, and what it remembers."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import reference
from tf_pcc import bounds

NAN, INF = np.nan, np.inf
ALL = {
  "fixed": (tf_pcc.FixedBound(1.5), {"kind": "fixed", "norm": 1.5}),
  "min": (tf_pcc.MinBound(), {"kind": "min"}),
  **{
    f"quantile {q}": (
      tf_pcc.QuantileBound(q),
      {"kind": "quantile", "quantile": q},
    )
    for q in (0.0, 0.25, 0.5, 0.77, 1.0)
  },
  **{
    f"running {s} {d}": (
      tf_pcc.RunningBound(d, s, 0.3),
      {"kind": "running", "decay": d, "statistic": s, "quantile": 0.3},
    )
    for s in ("min", "mean", "quantile")
    for d in (0.0, 0.9)
  },
}


def steps(count, units, seed=0):
  """Random norms; a third of them dead, at least one alive."""
  rng = np.random.default_rng(seed)
  for _ in range(count):
    norms = rng.lognormal(size=units).astype(np.float32)
    dead = rng.random(units) < 0.35
    dead[rng.integers(units)] = False
    norms[dead] = rng.choice([NAN, INF, 0.0], dead.sum())
    yield norms


def empty(bound, units):
  return {name: tf.zeros(units) for name in bound.state_names}


def compute(bound, norms, state, run):
  live = np.isfinite(norms) & (norms > 0)
  return run(tf.constant(norms), tf.constant(live), state)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("units", [1, 5])
@pytest.mark.parametrize("name", ALL)
def test_against_numpy(name, units, mode):
  bound, options = ALL[name]
  rule = reference.Bound(**options)
  run = bound.compute
  if mode != "eager":
    run = tf.function(run, jit_compile=mode == "xla")
  state = empty(bound, units)
  for norms in steps(12, units):
    rho, state = compute(bound, norms, state, run)
    assert rho.dtype == tf.float32
    assert rho.shape == ()
    np.testing.assert_allclose(rho, rule(norms), rtol=2e-6)


@pytest.mark.parametrize("units", [1, 2, 8])
def test_running_bound_without_decay_is_min_bound_bit_for_bit(units):
  running, least = tf_pcc.RunningBound(0.0, "min"), tf_pcc.MinBound()
  step = tf.function(running.compute)
  state = empty(running, units)
  for norms in steps(200, units, seed=1):
    rho, state = compute(running, norms, state, step)
    expected, _ = compute(least, norms, {}, least.compute)
    assert rho.numpy() == expected.numpy()


def test_running_bound_corrects_for_its_start():
  """A constant norm is its own running average from the first step on."""
  bound = tf_pcc.RunningBound(0.99, "mean")
  state = empty(bound, 3)
  for _ in range(5):
    rho, state = compute(bound, np.full(3, 7.0, "f"), state, bound.compute)
    np.testing.assert_allclose(rho, 7.0, rtol=1e-6)


def test_dead_units_keep_their_average():
  bound = tf_pcc.RunningBound(0.5)
  state = empty(bound, 2)
  _, before = compute(bound, np.float32([4, 2]), state, bound.compute)
  rho, after = compute(bound, np.float32([8, NAN]), before, bound.compute)
  for name in bound.state_names:
    assert after[name][1] == before[name][1]
    assert after[name][0] != before[name][0]
  # Only the live unit counts: (8 / 2 + 4 / 4) / (1 / 2 + 1 / 4).
  np.testing.assert_allclose(rho, (4 + 1) / 0.75, rtol=1e-6)


def test_resized_state_is_quantiles_of_the_averages():
  bound = tf_pcc.RunningBound(0.9)
  state = {
    "average": np.float32([0.5, 3.0, 0.0, 8.0]),
    "weight": np.float32([0.5, 1.0, 0.0, 1.0]),
  }
  for units in (1, 2, 5):
    found = bound.resize_state(state, units)
    np.testing.assert_allclose(
      found["average"], np.quantile([1, 3, 8], np.linspace(0, 1, units))
    )
    np.testing.assert_array_equal(found["weight"], np.ones(units))
    assert {v.dtype for v in found.values()} == {np.dtype("float32")}
  nothing = {name: np.zeros(4, "f") for name in bound.state_names}
  found = bound.resize_state(nothing, 2)
  np.testing.assert_array_equal(found["weight"], [0, 0])
  assert tf_pcc.MinBound().resize_state({}, 3) == {}


def test_a_base_class_must_be_completed():
  with pytest.raises(NotImplementedError, match="must implement compute"):
    bounds.Bound().compute(None, None, {})


@pytest.mark.parametrize("value", [0, -1, NAN, "2", None, True, [1.0]])
def test_fixed_bound_must_be_above_zero(value):
  with pytest.raises(ValueError, match="norm must be .*Received: norm="):
    tf_pcc.FixedBound(value)


@pytest.mark.parametrize("value", [-0.1, 1.1, NAN, "0.5", None, True])
def test_fractions(value):
  with pytest.raises(ValueError, match="Received: quantile="):
    tf_pcc.QuantileBound(value)
  with pytest.raises(ValueError, match="Received: quantile="):
    tf_pcc.RunningBound(quantile=value)
  with pytest.raises(ValueError, match="Received: decay="):
    tf_pcc.RunningBound(decay=value)


def test_running_bound_errors():
  with pytest.raises(ValueError, match=r"below 1. Received: decay=1.0"):
    tf_pcc.RunningBound(decay=1)
  with pytest.raises(ValueError, match="Received: statistic='max'"):
    tf_pcc.RunningBound(statistic="max")


@pytest.mark.parametrize("name", ALL)
def test_keras_serialisation(name):
  bound, _ = ALL[name]
  config = json.loads(json.dumps(keras.saving.serialize_keras_object(bound)))
  other = bounds.get(config)
  assert type(other) is type(bound)
  assert other.get_config() == bound.get_config()
  assert repr(other) == repr(bound)


def test_get():
  assert bounds.get(2).norm == 2.0
  assert bounds.get(np.float32(0.5)).norm == 0.5
  assert bounds.get(INF).fixed_value == INF
  bound = tf_pcc.MinBound()
  assert bounds.get(bound) is bound
  assert bound.fixed_value is None
  for value in ("min", None, True, [1.0], tf_pcc.MinBound):
    with pytest.raises(ValueError, match="Received: bound="):
      bounds.get(value)


def test_repr_is_the_call():
  assert repr(tf_pcc.FixedBound(2)) == "FixedBound(norm=2.0)"
  assert repr(tf_pcc.MinBound()) == "MinBound()"

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
    for s in ("min", "mean", "median", "quantile")
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


def both(bound):
  """`observe` and `compute` as one function."""

  def step(norms, live, state):
    return bound.compute(norms, live, bound.observe(norms, live, state))

  return step


def compute(norms, state, run):
  live = np.isfinite(norms) & (norms > 0)
  return run(tf.constant(norms), tf.constant(live), state)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("units", [1, 5])
@pytest.mark.parametrize("name", ALL)
def test_against_numpy(name, units, mode):
  bound, options = ALL[name]
  rule = reference.Bound(**options)
  run = both(bound)
  if mode != "eager":
    run = tf.function(run, jit_compile=mode == "xla")
  state = empty(bound, units)
  for norms in steps(12, units):
    rho, state = compute(norms, state, run)
    assert rho.dtype == tf.float32
    assert rho.shape == ()
    np.testing.assert_allclose(rho, rule(norms), rtol=4e-6)


def test_bounds_without_state():
  assert tf_pcc.MinBound().observe(tf.ones(2), tf.ones(2, bool), {}) == {}
  assert tf_pcc.MinBound().resize_state({}, 3) == {}
  assert tf_pcc.MinBound().upgrade_state({}) is None


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

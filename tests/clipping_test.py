"""The maths: properties over dtypes, bounds and ways to run."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_pcc import clipping

NAN, INF = np.nan, np.inf
MODES = {
  "eager": lambda f: f,
  "graph": tf.function,
  "xla": lambda f: tf.function(f, jit_compile=True),
}
TOLERANCE = {
  "float64": 1e-6,
  "float32": 1e-6,
  "bfloat16": 2e-2,
  "float16": 2e-3,
}


def draw(dtype, seed=0):
  rng = np.random.default_rng(seed)
  shapes = [(3, 5), (7,), (), (2, 2, 2)]
  return [tf.cast(tf.constant(rng.normal(size=s)), dtype) for s in shapes]


def to_numpy(gradients):
  return [tf.cast(g, tf.float64).numpy() for g in gradients]


def naive_norm(gradients):
  return np.sqrt(sum((g**2).sum() for g in to_numpy(gradients)))


@functools.cache
def clipper(mode, bound):
  """`clip_by_norm` as the mode runs it, traced once for all that is alike."""
  return MODES[mode](lambda g: clipping.clip_by_norm(g, bound))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bound", [1e-3, 0.5, 3.0, 1e6, INF])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_clip_by_norm(dtype, bound, mode):
  gradients = draw(dtype)
  found, norm = clipper(mode, bound)(gradients)
  expected_norm = naive_norm(gradients)
  np.testing.assert_allclose(norm, expected_norm, rtol=1e-6)
  assert norm.dtype == tf.float32
  assert naive_norm(found) <= min(bound, expected_norm) * (1 + TOLERANCE[dtype])
  factor = min(1.0, bound / expected_norm)
  for a, b in zip(found, gradients):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    if factor == 1.0:
      np.testing.assert_array_equal(to_numpy([a])[0], to_numpy([b])[0])
    else:
      np.testing.assert_allclose(
        to_numpy([a])[0],
        to_numpy([b])[0] * factor,
        rtol=TOLERANCE[dtype],
        atol=1e-7,
      )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("bad", [NAN, INF, -INF, 0.0])
def test_what_is_not_live_becomes_zero(bad, dtype, mode):
  gradients = draw(dtype)
  if bad == 0.0:
    gradients = [tf.zeros_like(g) for g in gradients]
  gradients[1] = tf.fill([7], tf.constant(bad, dtype))
  found, norm = clipper(mode, 1.0)(gradients)
  assert not clipping.is_live(norm)
  for a, b in zip(found, gradients):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(to_numpy([a])[0], np.zeros(b.shape))


def test_norm_is_accumulated_in_float32():
  """A bfloat16 sum of 4,096 ones stops at 256."""
  for dtype in ("bfloat16", "float16", "float32"):
    norm = clipping.global_norm([tf.ones([4096], dtype)])
    assert float(norm) == 64.0
  # The square of 300 is infinite in float16.
  assert (
    float(clipping.global_norm([tf.fill([4], tf.cast(300, "float16"))])) == 600
  )


@pytest.mark.parametrize("mode", MODES)
def test_overflowing_norm_is_not_live(mode):
  gradients = [tf.constant([1e30, 1.0])]
  found, norm = clipper(mode, 1.0)(gradients)
  assert np.isinf(norm)
  np.testing.assert_array_equal(found[0], [0, 0])


def test_duplicate_rows_are_summed_and_none_stays():
  sparse = tf.IndexedSlices(
    tf.constant([[1.0], [1.0], [4.0]]),
    tf.constant([0, 0, 2]),
    tf.constant([3, 1]),
  )
  dense, none = clipping.densify([sparse, None])
  np.testing.assert_array_equal(dense[:, 0], [2, 0, 4])
  assert none is None
  np.testing.assert_allclose(clipping.global_norm([sparse, None]), np.sqrt(20))
  found, _ = clipping.clip_by_norm([sparse, None], np.sqrt(5))
  np.testing.assert_allclose(found[0][:, 0], [1, 0, 2], rtol=1e-6)
  assert found[1] is None


def test_no_gradient_at_all_is_an_error():
  with pytest.raises(ValueError, match="Received: gradients="):
    clipping.global_norm([None, None])


def test_is_live_and_factors():
  norms = tf.constant([0.0, 1.0, 2.0, 8.0, NAN, INF, -INF, 1e-45])
  live = [False, True, True, True, False, False, False, True]
  # The smallest denormal counts where the processor keeps denormals.
  live[-1] = bool(norms[-1] > 0)
  np.testing.assert_array_equal(clipping.is_live(norms), live)
  np.testing.assert_array_equal(
    clipping.clip_factor(norms, 2.0)[:7], [0, 1, 1, 0.25, 0, 0, 0]
  )
  np.testing.assert_array_equal(
    clipping.clip_factor(norms, INF)[:7], [0, 1, 1, 1, 0, 0, 0]
  )


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_scale_selects(factor):
  gradient = tf.constant([1.0, -2.0, 0.1])
  found, none = clipping.scale([gradient, None], tf.constant(factor))
  assert none is None
  np.testing.assert_array_equal(found, gradient.numpy() * np.float32(factor))
  bad = clipping.scale([tf.constant([NAN, INF])], tf.constant(0.0))[0]
  np.testing.assert_array_equal(bad, [0, 0])

"""What is clipped on its own: how micro-batches are added up, by dtype."""

import numpy as np
import pytest
import tensorflow as tf

from tf_pcc import units

COUNT = 5


def draw(dtype):
  """Stacked gradients of which one is NaN, factors and weights."""
  rng = np.random.default_rng(4)
  stacked = tf.constant(rng.normal(size=(COUNT, 3, 2)), dtype)
  spoilt = np.zeros((COUNT, 1, 1), bool)
  spoilt[2] = True
  stacked = tf.where(spoilt, tf.constant(np.nan, dtype), stacked)
  factors = rng.uniform(0.1, 1.0, COUNT).astype(np.float32)
  factors[2] = 0.0
  weights = np.full(COUNT, 1.25, np.float32)
  return stacked, factors, weights


@pytest.mark.parametrize(
  ("dtype", "rtol"),
  # bfloat16 is added up in float32 and rounded once, to half a unit of 2**-7.
  [("float64", 1e-14), ("float32", 1e-6), ("bfloat16", 2**-8)],
)
def test_stacked_microbatches_are_added_up_in_the_wide_dtype(dtype, rtol):
  stacked, factors, weights = draw(dtype)
  norms = np.where(factors > 0, 1.0, np.nan).astype(np.float32)
  found, nothing = units.StackedMicrobatches([stacked, None], norms).clipped(
    tf.constant(factors), tf.constant(weights)
  )
  assert nothing is None
  assert found.dtype == dtype
  exact = np.nan_to_num(tf.cast(stacked, tf.float64).numpy())
  # The factors are float32, and so is their product.
  products = (factors * weights).astype(np.float64)
  expected = np.tensordot(products, exact, 1) / COUNT
  np.testing.assert_allclose(
    tf.cast(found, tf.float64), expected, rtol=rtol, atol=rtol * 1e-2
  )


def test_one_microbatch_within_the_bound_keeps_the_bits_of_float64():
  gradient = tf.constant([[1 + 2**-40, 1 / 3]], tf.float64)
  unit = units.StackedMicrobatches([gradient], tf.constant([1.0]))
  (found,) = unit.clipped(tf.constant([1.0]), tf.constant([1.0]))
  np.testing.assert_array_equal(found, gradient[0])

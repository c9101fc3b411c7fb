"""The scan against a loop in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.losses import scanning


def step(carry, element):
  total, last = carry
  x, y = element
  return (total * x + y, x), (total - last, tf.reduce_sum(y))


def by_loop(carry, x, y, order):
  outputs = [None] * len(x), [None] * len(x)
  for i in order:
    total, last = carry
    outputs[0][i], outputs[1][i] = total - last, y[i].sum()
    carry = total * x[i] + y[i], x[i]
  return carry, outputs


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_equals_a_loop(compiled, known, reverse):
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=[2, 5, 3]).astype(np.float32)
  carry = tuple(rng.normal(size=[2, 3]).astype(np.float32))

  def run(carry, x, y):
    like = carry[0], carry[0][0]
    return scanning.scan(step, carry, (x, y), like, reverse)

  spec = tf.TensorSpec([5 if known else None, 3])
  signature = ((tf.TensorSpec([3]),) * 2, spec, spec)
  run = tf.function(run, signature, autograph=False, jit_compile=compiled)
  got = run(carry, x, y)
  order = range(5)[::-1] if reverse else range(5)
  want = by_loop(carry, x, y, order)
  for parts, wanted in zip(got, want, strict=True):
    for part, value in zip(parts, wanted, strict=True):
      np.testing.assert_allclose(part, value, rtol=1e-5, atol=1e-6)

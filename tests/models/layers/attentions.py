"""Layers and inputs that are the same numbers in every dtype of the tests.

Weights and inputs are rounded to bfloat16, so a reference in NumPy starts from
what a layer in mixed_bfloat16 starts from, and errors are those of its
computing alone.
"""

import numpy as np
import tensorflow as tf

DIM, HEADS = 12, 3
WIDTH = DIM // HEADS
# Largest difference from NumPy; outputs are up to 10, of which bfloat16 knows
# 1 in 256, and several roundings lie between.
FLOAT32, BFLOAT16 = ("float32", 1e-5), ("mixed_bfloat16", 0.12)
FLOAT64 = ("float64", 1e-5)


def normal(shape, seed):
  """float64 normal numbers that bfloat16 knows."""
  return _rounded(np.random.default_rng(seed).normal(size=shape))


def with_weights(layer, seed=0):
  """The layer, built, with weights that bfloat16 knows."""
  layer.build((None, None, DIM))
  rng = np.random.default_rng(seed)
  for variable in layer.trainable_variables:
    variable.assign(_rounded(0.5 * rng.normal(size=variable.shape)))
  return layer


def _rounded(values):
  return tf.cast(tf.cast(values, tf.bfloat16), tf.float64).numpy()

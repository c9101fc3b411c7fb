"""Means of losses, and what a decoder takes of sound that is not finite."""

import numpy as np
import pytest
import tensorflow as tf

from models import speech_model


@pytest.mark.parametrize(
  ("weights", "want"),
  [(None, 3.0), ([1, 1, 1], 3.0), ([1, 0, 3], 4.0), ([0, 0, 0], 0.0)],
)
def test_weighted_mean(weights, want):
  values = tf.constant([1.0, 3.0, 5.0])
  if weights is not None:
    weights = tf.constant(weights, tf.float32)
  assert float(speech_model.weighted_mean(values, weights)) == want


def test_weight_0_keeps_a_nan_out_of_loss_and_gradient():
  values = tf.Variable([1.0, np.nan])
  with tf.GradientTape() as tape:
    loss = speech_model.weighted_mean(values, tf.constant([2.0, 0.0]))
  assert float(loss) == 1.0
  assert tape.gradient(loss, values).numpy().tolist() == [1.0, 0.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_finite_length(value, dtype):
  values = np.zeros([4, 5, 2], np.float32)
  values[0, 2, 1] = value  # In a valid frame.
  values[1, 3:] = value  # Behind the end.
  values[3] = value  # No frame is valid.
  got = speech_model.finite_length(tf.cast(values, dtype), [3, 3, 5, 0])
  assert got.numpy().tolist() == [0, 3, 5, 0]

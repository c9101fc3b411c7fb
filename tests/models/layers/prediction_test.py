"""Prediction networks: the serial form gives what the parallel one gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.layers import prediction

each_network = pytest.mark.parametrize("name", prediction.NETWORKS)


def _built(name):
  network = prediction.NETWORKS[name](vocab_size=7, dim=6)
  network.build()
  return network


@each_network
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_steps_equal_the_parallel_form(name, policy):
  keras.config.set_dtype_policy(policy)
  network = _built(name)
  labels = np.random.default_rng(0).integers(1, 7, [4, 9]).astype(np.int32)
  want = network(labels)
  assert want.shape == [4, 10, 6] and want.dtype == network.compute_dtype
  output, state = network.start(4)
  got = [output]
  for u in range(9):
    output, state = network.step(tf.constant(labels[:, u]), state)
    got.append(output)
  tolerance = {"float32": 1e-6, "mixed_bfloat16": 2e-2}[policy]
  np.testing.assert_allclose(
    tf.cast(tf.stack(got, axis=1), tf.float32),
    tf.cast(want, tf.float32),
    atol=tolerance,
  )


@each_network
def test_a_row_depends_on_the_labels_before_alone(name):
  """And not on padding, whatever stands there."""
  network = _built(name)
  labels = np.array([[1, 2, 3, 4]])
  other = np.array([[1, 2, -1, 99 % 7]])
  np.testing.assert_array_equal(network(labels)[:, :3], network(other)[:, :3])
  assert np.abs(network(labels)[:, 3:] - network(other)[:, 3:]).max() > 1e-4


@each_network
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_what_is_no_label_is_left_to_the_loss(name, mode):
  network = _built(name)
  call = tf.function(network, autograph=False) if mode == "graph" else network
  found = call(tf.constant([[1, 2, 7], [-5, 99, 2**31 - 1]]))
  assert np.isfinite(found).all()
  # Nor does it change what was said before it.
  np.testing.assert_allclose(
    found[0, :3], network(tf.constant([[1, 2]]))[0], rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize("context", [1, 2, 3])
def test_stateless_looks_back_on_its_context(context):
  network = prediction.StatelessPrediction(vocab_size=7, dim=4, context=context)
  network.build()
  labels = np.array([[5, 1, 2, 3, 4]])
  moved = np.array([[6, 1, 2, 3, 4]])
  differs = np.abs(network(labels) - network(moved)).max(axis=(0, 2)) > 0
  assert differs.tolist() == [0 < u <= context for u in range(6)]


@each_network
def test_config_round_trip(name):
  network = _built(name)
  again = type(network).from_config(network.get_config())
  again.build()
  again.set_weights(network.get_weights())
  labels = np.array([[1, 2, 3]])
  np.testing.assert_array_equal(again(labels), network(labels))

"""The joint layer computes what the loss computes."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers import joint
from models.losses import transducer_joint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nodes_equal_the_whole_lattice(dtype):
  layer = joint.Joint(vocab_size=5, dim=6)
  layer.build((None, None, 3), (None, None, 4))
  rng = np.random.default_rng(0)
  for variable in layer.variables:
    variable.assign(rng.normal(size=variable.shape))
  encoded = tf.cast(rng.normal(size=[2, 7, 3]), dtype)
  predicted = tf.cast(rng.normal(size=[2, 4, 4]), dtype)
  want = transducer_joint.joint_logits(
    encoded, predicted, layer.joint_weights()
  )
  frames = layer.of_encoder(encoded)
  for t, u in ((0, 0), (6, 3), (2, 1)):
    got = layer(frames[:, t], predicted[:, u])
    assert got.dtype == tf.float32
    np.testing.assert_allclose(got, want[:, t, u], rtol=1e-5, atol=1e-6)


def test_starts_at_the_blank_prior():
  layer = joint.Joint(vocab_size=9, dim=4, blank_prior=0.8)
  layer.build((None, None, 3), (None, None, 3))
  start = tf.nn.softmax(layer(tf.zeros([1, 4]), tf.zeros([1, 3])))[0]
  np.testing.assert_allclose(start, [0.8] + [0.025] * 8, rtol=1e-5)

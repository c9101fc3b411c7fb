"""The LSTM encoder against plain loops in NumPy, in both directions."""

import numpy as np
import pytest
import tensorflow as tf

from models import lstm

CONFIG = {"units": 3, "layers": 2, "subsampling_factor": 2, "dropout": 0.0}


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _direction(x, weights):
  """Keras' order of gates: input, forget, cell, output."""
  kernel, recurrent, bias = (np.asarray(w, np.float64) for w in weights)
  hidden = cell = np.zeros(len(recurrent))
  outputs = []
  for frame in x:
    i, f, c, o = np.split(frame @ kernel + hidden @ recurrent + bias, 4)
    cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(c)
    hidden = _sigmoid(o) * np.tanh(cell)
    outputs.append(hidden)
  return np.array(outputs)


def _norm(x):
  centred = x - x.mean(-1, keepdims=True)
  return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-3)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
  ("policy", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.15)]
)
def test_encoder_equals_loops(bidirectional, policy, tolerance):
  encoder = lstm.LSTMEncoder(
    {**CONFIG, "bidirectional": bidirectional}, dtype=policy
  )
  encoder.build((None, None, 5))
  features = tf.random.stateless_normal([3, 20, 5], [1, 2])
  lengths = tf.constant([20, 11, 0])
  got, frames = encoder(features, lengths)
  assert frames.numpy().tolist() == [10, 6, 0]
  assert got.shape == (3, 10, encoder.dim)
  low = tf.cast(features, encoder.compute_dtype)
  inputs = tf.cast(encoder.subsampling(low, lengths)[0], tf.float32).numpy()
  for row in range(2):
    x = inputs[row, : frames[row]]
    for layer in encoder.recurrent:
      weights = layer.get_weights()
      y = _direction(x, weights[:3])
      if bidirectional:
        back = _direction(x[::-1], weights[3:])[::-1]
        y = np.concatenate([y, back], axis=1)
      x = _norm(y)
    valid = tf.cast(got[row, : frames[row]], tf.float32)
    np.testing.assert_allclose(valid, x, atol=tolerance)


def test_one_direction_sees_the_past_only():
  features = tf.random.stateless_normal([1, 40, 5], [1, 2])
  changed = tf.concat([features[:, :20], -features[:, 20:]], axis=1)
  differs = {}
  for bidirectional in (True, False):
    encoder = lstm.LSTMEncoder({**CONFIG, "bidirectional": bidirectional})
    want, _ = encoder(features, tf.constant([40]))
    got, _ = encoder(changed, tf.constant([40]))
    differs[bidirectional] = np.abs(got - want).max(axis=-1)[0] > 1e-6
  assert not differs[False][:10].any() and differs[False][10:].all()
  assert differs[True].all()


def test_dropout_between_layers():
  encoder = lstm.LSTMEncoder({**CONFIG, "dropout": 0.5})
  features = tf.random.stateless_normal([2, 20, 5], [1, 2])
  outputs, _ = encoder(features, tf.constant([20, 9]), training=True)
  assert np.mean(outputs.numpy() == 0) > 0.2


@pytest.mark.parametrize("field", ["units", "layers"])
def test_sizes_out_of_range_are_refused(field):
  with pytest.raises(ValueError, match=f"Received: {field}=0"):
    lstm.LSTMConfig(**{**CONFIG, field: 0})

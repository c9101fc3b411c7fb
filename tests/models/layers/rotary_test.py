"""Rotary attention against complex numbers in NumPy, whole and in chunks."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers import rotary
from tests.models.layers import attentions
from tests.models.layers.attentions import DIM, HEADS, WIDTH

POLICIES = [attentions.FLOAT32, attentions.FLOAT64, attentions.BFLOAT16]


def _layer(policy="float32"):
  return attentions.with_weights(
    rotary.RotarySelfAttention(DIM, HEADS, dtype=policy)
  )


def _numpy_attention(layer, x, before, seen):
  """The last frames' outputs: pairs as complex numbers, turned by their place.

  Args:
    layer: `RotarySelfAttention`, whose weights are taken.
    x: float64 [B, P + T, dim], of which the last T frames ask.
    before: int, P.
    seen: bool [B, P + T, P + T], whether frame i sees frame j.

  Returns:
    float64 [B, T, dim].
  """
  kernel, bias, last, last_bias = (
    np.asarray(w.numpy(), float)
    for dense in (layer.query_key_value, layer.output_projection)
    for w in dense.weights
  )
  half = WIDTH // 2
  rate = 10000.0 ** (-np.arange(half) / half)
  places = np.arange(x.shape[1])[:, None]
  mixed = np.zeros([len(x), x.shape[1] - before, DIM])
  for b, h in np.ndindex(len(x), HEADS):
    part = slice(h * WIDTH, (h + 1) * WIDTH)
    query, key, value = (
      y[:, part] for y in np.split(x[b] @ kernel + bias, 3, axis=-1)
    )
    query, key = (
      (y[:, :half] + 1j * y[:, half:]) * np.exp(-1j * places * rate)
      for y in (query, key)
    )
    scores = (query @ key.conj().T).real / np.sqrt(WIDTH)
    weights = np.where(seen[b], np.exp(scores), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    mixed[b, :, part] = (weights @ value)[before:]
  return mixed @ last + last_bias


@pytest.mark.parametrize(("policy", "tolerance"), POLICIES)
@pytest.mark.parametrize("time", [1, 2, 7])
def test_a_whole_equals_numpy(time, policy, tolerance):
  layer = _layer(policy)
  x = attentions.normal([3, time, DIM], seed=1)
  lengths = [time, max(1, time - 3), 1]
  got = layer(
    tf.constant(x, layer.compute_dtype),
    layer.positions(time, time),
    tf.sequence_mask(lengths, time),
  )
  seen = np.arange(time) < np.array(lengths)[:, None, None]
  seen = np.broadcast_to(seen, [3, time, time])
  want = _numpy_attention(layer, x, 0, seen)
  assert got.dtype == layer.compute_dtype
  np.testing.assert_allclose(tf.cast(got, tf.float64), want, atol=tolerance)


@pytest.mark.parametrize(("policy", "tolerance"), POLICIES[::2])
@pytest.mark.parametrize("time", [1, 3])
def test_a_stream_equals_numpy(time, policy, tolerance):
  """Keys of frames before are kept as they were, and turned again."""
  layer, before = _layer(policy), 2 * time
  x = attentions.normal([2, 3 * time, DIM], seed=2)
  past = (tf.zeros([2, HEADS, before, WIDTH]),) * 2
  for part in range(3):
    # Of the frames before, only those that were there are seen.
    seen = tf.range(3 * time) >= before - part * time
    got, past = layer.step(
      tf.constant(x[:, part * time : (part + 1) * time], layer.compute_dtype),
      layer.positions(before + time, time),
      tf.stack([seen, seen]),
      past,
    )
  want = _numpy_attention(layer, x, before, np.ones([2, 3 * time, 3 * time]))
  np.testing.assert_allclose(tf.cast(got, tf.float64), want, atol=tolerance)


def test_only_distances_matter():
  """The same sound later, after frames that are not seen."""
  layer = _layer()
  x = np.random.default_rng(3).normal(size=[1, 5, DIM]).astype(np.float32)
  later = np.pad(x, [[0, 0], [700, 0], [0, 0]])
  first = layer(x, layer.positions(5, 5), tf.ones([1, 5], bool))
  seen = tf.range(705)[None] >= 700
  moved = layer(later, layer.positions(705, 705), seen)[:, 700:]
  np.testing.assert_allclose(moved, first, atol=1e-5)
  # And they do: in another order the frames give something else.
  other = layer(x[:, ::-1], layer.positions(5, 5), tf.ones([1, 5], bool))
  assert np.abs(other[:, ::-1] - first).max() > 0.01


def test_config_and_odd_widths():
  layer = _layer()
  again = rotary.RotarySelfAttention.from_config(layer.get_config())
  assert (again.dim, again.heads) == (DIM, HEADS)
  with pytest.raises(ValueError, match="must be even .*Received: dim=9, heads"):
    rotary.RotarySelfAttention(9, 3)
  with pytest.raises(
    ValueError, match="heads must divide dim.*Received: heads"
  ):
    rotary.RotarySelfAttention(9, 2)

"""Attention against NumPy, against einsum, and row by row."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers import attention
from tests.models.layers import attentions
from tests.models.layers.attentions import DIM, HEADS, WIDTH


def _layer(policy="float32", shift_free=None):
  return attentions.with_weights(
    attention.RelativeSelfAttention(
      DIM, HEADS, shift_free=shift_free, dtype=policy
    )
  )


def _numpy_attention(layer, x, before, lengths):
  """Attention as its formula says, from every frame to every valid one.

  Args:
    layer: `RelativeSelfAttention`, whose weights are taken.
    x: float64 [B, P + T, dim], of which the last T frames ask.
    before: int, P.
    lengths: list of int, valid frames, those before included.

  Returns:
    float64 [B, T, dim].
  """
  names = (layer.query_key_value, layer.position, layer.output_projection)
  joint, place, last = ([w.numpy() for w in dense.weights] for dense in names)
  rate = 10000.0 ** (-np.arange(0, DIM, 2) / DIM)
  mixed = np.zeros([len(x), x.shape[1] - before, DIM])
  for b, h, i in np.ndindex(len(x), HEADS, mixed.shape[1]):
    part = slice(h * WIDTH, (h + 1) * WIDTH)
    query, key, value = (
      y[:, part] for y in np.split(x[b] @ joint[0] + joint[1], 3, axis=-1)
    )
    scores = []
    for j in range(lengths[b]):
      angle = (before + i - j) * rate
      wave = np.concatenate([np.sin(angle), np.cos(angle)])
      position = (wave @ place[0])[part]
      scores.append(
        (query[before + i] + layer.content_bias.numpy()[h]) @ key[j]
        + (query[before + i] + layer.position_bias.numpy()[h]) @ position
      )
    weights = np.exp(np.array(scores) / np.sqrt(WIDTH))
    weights /= weights.sum()
    mixed[b, i, part] = weights @ value[: lengths[b]]
  return mixed @ last[0] + last[1]


@pytest.mark.parametrize(
  ("policy", "tolerance"), [attentions.FLOAT32, attentions.BFLOAT16]
)
@pytest.mark.parametrize("time", [1, 2, 7])
@pytest.mark.parametrize("shift_free", [False, True])
def test_a_whole_equals_numpy(shift_free, time, policy, tolerance):
  layer = _layer(policy, shift_free=shift_free)
  x = attentions.normal([3, time, DIM], seed=1)
  lengths = [time, max(1, time - 3), 1]
  got = layer(
    tf.constant(x, tf.float32),
    attention.relative_positions(time, DIM),
    tf.sequence_mask(lengths, time),
  )
  want = _numpy_attention(layer, x, 0, lengths)
  np.testing.assert_allclose(tf.cast(got, tf.float32), want, atol=tolerance)


@pytest.mark.parametrize(
  ("policy", "tolerance"), [attentions.FLOAT32, attentions.BFLOAT16]
)
@pytest.mark.parametrize("time", [1, 2, 7])
@pytest.mark.parametrize("shift_free", [False, True])
def test_a_stream_equals_numpy(shift_free, time, policy, tolerance):
  """Frames before, fed in two parts, are keys and values of the next."""
  layer, before = _layer(policy, shift_free=shift_free), 2 * time
  x = attentions.normal([2, 3 * time, DIM], seed=2)
  past = (tf.zeros([2, HEADS, before, WIDTH]),) * 2
  positions = attention.relative_positions(3 * time, DIM)
  positions = positions[: before + 2 * time - 1]
  for part in range(3):
    # Of the frames before, only those that were there are seen.
    seen = tf.range(3 * time) >= before - part * time
    got, past = layer.step(
      tf.constant(x[:, part * time : (part + 1) * time], tf.float32),
      positions,
      tf.stack([seen, seen]),
      past,
    )
    assert {tuple(t.shape) for t in past} == {(2, HEADS, before, WIDTH)}
  want = _numpy_attention(layer, x, before, [3 * time] * 2)
  np.testing.assert_allclose(tf.cast(got, tf.float32), want, atol=tolerance)


def _einsum_attention(layer, x, positions, mask):
  """The formula with the batch first, einsum and strided slices."""
  batch, time = x.shape[:2]
  heads = layer.query_key_value(x)
  heads = tf.reshape(heads, [batch, time, 3, HEADS, WIDTH])
  query, key, value = tf.unstack(tf.transpose(heads, [2, 0, 3, 1, 4]))
  position = tf.reshape(layer.position(positions), [-1, HEADS, WIDTH])
  content_bias, position_bias = (
    tf.cast(bias, query.dtype)[:, None]
    for bias in (layer.content_bias, layer.position_bias)
  )
  far = tf.einsum("bhtd,uhd->bhtu", query + position_bias, position)
  near = tf.stack(
    [far[:, :, i, time - 1 - i : 2 * time - 1 - i] for i in range(time)], 2
  )
  scores = tf.einsum("bhid,bhjd->bhij", query + content_bias, key) + near
  scores = tf.cast(scores * WIDTH**-0.5, tf.float32)
  scores = tf.where(mask[:, None, None], scores, -1e9)
  weights = tf.cast(tf.nn.softmax(scores), value.dtype)
  mixed = tf.einsum("bhij,bhjd->bihd", weights, value)
  return layer.output_projection(tf.reshape(mixed, [batch, time, DIM]))


@pytest.mark.parametrize(
  ("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)]
)
@pytest.mark.parametrize("time", [1, 2, 7])
@pytest.mark.parametrize("shift_free", [False, True])
def test_outputs_and_gradients_equal_einsums(
  shift_free, time, policy, tolerance
):
  layer = _layer(policy, shift_free=shift_free)
  rng = np.random.default_rng(3)
  x, weight = (
    tf.constant(rng.normal(size=[4, time, DIM]), layer.compute_dtype)
    for _ in range(2)
  )
  positions = attention.relative_positions(time, DIM)
  positions = tf.cast(positions, layer.compute_dtype)
  mask = tf.sequence_mask([time, max(1, time - 2), 1, time], time)
  found = []
  for function in (layer, lambda *inputs: _einsum_attention(layer, *inputs)):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = function(x, positions, mask)
      loss = tf.reduce_sum(y * weight)
    sources = [x, *(v.value for v in layer.trainable_variables)]
    found.append([y, *tape.gradient(loss, sources)])
  for got, want in zip(*found):
    got, want = (tf.cast(t, tf.float32).numpy() for t in (got, want))
    scale = max(1.0, np.abs(want).max())
    np.testing.assert_allclose(got / scale, want / scale, atol=tolerance)


def test_a_large_batch_attends_like_its_rows_alone():
  time, batch = 25, 16
  layer = _layer()
  x = np.random.default_rng(4).normal(size=[batch, time, DIM])
  x = x.astype(np.float32)
  positions = attention.relative_positions(time, DIM)
  mask = tf.ones([batch, time], bool)
  found = layer(x, positions, mask)
  for row in range(batch):
    one = slice(row, row + 1)
    alone = layer(x[one], positions, mask[one])
    np.testing.assert_allclose(found[one], alone, atol=1e-5)


def _pair(policy):
  """Layers of equal weights: with the shift, without."""
  return [_layer(policy, shift_free=free) for free in (False, True)]


@pytest.mark.parametrize(
  ("policy", "tolerance"),
  # Values are up to 10, of which bfloat16 knows 1 in 256.
  [("float32", 1e-5), ("float64", 1e-5), ("mixed_bfloat16", 0.2)],
)
def test_without_the_shift_a_chunk_mask_gives_the_same(policy, tolerance):
  time = 40
  x = np.random.default_rng(5).normal(size=[2, time, DIM])
  mask = (
    attention.chunk_mask(time, 8, 2) & tf.sequence_mask([40, 29], time)[:, None]
  )
  with_shift, without = (
    layer(
      tf.constant(x, layer.compute_dtype),
      tf.cast(attention.relative_positions(time, DIM), layer.compute_dtype),
      mask,
    )
    for layer in _pair(policy)
  )
  assert without.dtype == with_shift.dtype
  np.testing.assert_allclose(
    tf.cast(without, tf.float64),
    tf.cast(with_shift, tf.float64),
    atol=tolerance,
  )


def test_without_the_shift_bfloat16_is_no_farther_from_float32():
  time = 60
  x = np.random.default_rng(6).normal(size=[4, time, DIM])
  positions = attention.relative_positions(time, DIM)
  mask = tf.ones([4, time], bool)
  exact = _layer("float32")(tf.constant(x, tf.float32), positions, mask)
  errors = []
  for layer in _pair("mixed_bfloat16"):
    got = layer(
      tf.constant(x, tf.bfloat16), tf.cast(positions, tf.bfloat16), mask
    )
    error = tf.cast(got, tf.float32) - exact
    errors.append(float(tf.sqrt(tf.reduce_mean(error**2))))
  shifted, free = errors
  assert free < 1.25 * shifted


def test_long_utterances_need_no_more_than_float32():
  """The factors of far places are as exact as the sinusoids of distances."""
  time = 1500
  x = tf.random.stateless_normal([1, time, DIM], [1, 2])
  positions = attention.relative_positions(time, DIM)
  mask = tf.ones([1, time], bool)
  with_shift, without = (
    layer(x, positions, mask) for layer in _pair("float32")
  )
  np.testing.assert_allclose(without, with_shift, atol=1e-4)


def _ops(layer):
  """Kinds of the operations of a traced call."""

  @tf.function(autograph=False)
  def call(x):
    positions = attention.relative_positions(3, DIM)
    return layer(x, positions, tf.ones([2, 3], bool))

  graph = call.get_concrete_function(tf.TensorSpec([2, 3, DIM])).graph
  return {operation.type for operation in graph.get_operations()}


def test_the_device_chooses_the_form(monkeypatch):
  chosen, shifted, free = (_layer(shift_free=s) for s in (None, False, True))
  # Only the shift needs padded positions.
  assert "Pad" in _ops(shifted)
  assert "Pad" not in _ops(free)
  assert "Pad" in _ops(chosen)
  monkeypatch.setattr(attention.replicas, "on_tpu", lambda: True)
  assert "Pad" not in _ops(chosen)
  assert "Pad" in _ops(shifted)
  monkeypatch.setattr(attention, "_WIDEST_TURNED", DIM - 1)
  assert "Pad" in _ops(chosen)


@pytest.mark.parametrize("shift_free", [None, False, True])
def test_the_form_is_kept_by_the_config_and_the_export(shift_free, tmp_path):
  layer = _layer(shift_free=shift_free)
  again = attention.RelativeSelfAttention.from_config(layer.get_config())
  assert again.shift_free is shift_free
  positions = attention.relative_positions(5, DIM)
  mask = tf.ones([2, 5], bool)

  @tf.function(input_signature=[tf.TensorSpec([2, None, DIM], tf.float32)])
  def call(x):
    return layer(x, positions, mask)

  module = tf.Module()
  module.layer, module.call = layer.trainable_variables, call
  x = tf.random.stateless_normal([2, 5, DIM], [3, 4])
  tf.saved_model.save(module, str(tmp_path / "model"))
  loaded = tf.saved_model.load(str(tmp_path / "model"))
  np.testing.assert_allclose(loaded.call(x), call(x), atol=1e-6)

"""Parts of the encoder against plain loops in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import conformer
from models.layers import attention, convolution, dropout, subsampling

DTYPES = [("float32", 1e-4), ("bfloat16", 0.1)]


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("taps", [1, 3, 4, 15])
def test_depthwise_convolution_equals_loops(taps, dtype, tolerance):
  rng = np.random.default_rng(taps)
  x = rng.normal(size=[2, 9, 3]).astype(np.float32)
  kernel = rng.normal(size=[taps, 3]).astype(np.float32)
  want = np.zeros_like(x)
  for t in range(9):
    for k in range(taps):
      source = t + k - (taps - 1) // 2
      if 0 <= source < 9:
        want[:, t] += kernel[k] * x[:, source]
  got = convolution.depthwise_convolution(
    tf.cast(x, dtype), tf.cast(kernel, dtype)
  )
  assert got.dtype == dtype
  np.testing.assert_allclose(tf.cast(got, tf.float32), want, atol=tolerance)


def test_relative_shift_aligns_distances():
  scores = np.random.default_rng(0).normal(size=[2, 3, 5, 10])
  got = attention.relative_shift(tf.constant(scores))
  for i in range(5):
    for j in range(5):
      np.testing.assert_array_equal(got[..., i, j], scores[..., i, 5 - i + j])


@pytest.mark.parametrize(
  ("policy", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.1)]
)
def test_attention_equals_loops(policy, tolerance):
  rng = np.random.default_rng(1)
  dim, heads, time, lengths = 8, 2, 5, [5, 3]
  layer = attention.RelativeSelfAttention(dim, heads, dtype=policy)
  layer.build((None, None, dim))
  for variable in layer.trainable_variables:
    variable.assign(0.5 * rng.normal(size=variable.shape))
  x = rng.normal(size=[2, time, dim]).astype(np.float32)
  positions = attention.relative_positions(time, dim)
  got = layer(x, positions, tf.sequence_mask(lengths, time))

  kernel, bias = (v.numpy() for v in layer.query_key_value.weights)
  query, key, value = np.split(x @ kernel + bias, 3, axis=-1)
  position = positions.numpy() @ layer.position.kernel.numpy()
  mixed = np.zeros_like(x)
  for b, h, i in np.ndindex(2, heads, time):
    part = slice(h * 4, h * 4 + 4)
    u, v = layer.content_bias.numpy()[h], layer.position_bias.numpy()[h]
    scores = np.array(
      [
        (query[b, i, part] + u) @ key[b, j, part]
        + (query[b, i, part] + v) @ position[time - 1 - (i - j), part]
        for j in range(lengths[b])
      ]
    )
    weights = np.exp(scores / 2 - np.max(scores / 2))
    mixed[b, i, part] = weights / weights.sum() @ value[b, : lengths[b], part]
  kernel, bias = (v.numpy() for v in layer.output_projection.weights)
  np.testing.assert_allclose(
    tf.cast(got, tf.float32), mixed @ kernel + bias, atol=tolerance
  )


def test_relative_positions_are_sinusoids_of_the_distance():
  got = attention.relative_positions(4, 6).numpy()
  for row, distance in zip(got, range(3, -4, -1)):
    angles = distance / 10000 ** (np.arange(3) / 3)
    want = np.concatenate([np.sin(angles), np.cos(angles)])
    np.testing.assert_allclose(row, want, atol=1e-6)


@pytest.mark.parametrize("factor", sorted(subsampling.STRIDES))
@pytest.mark.parametrize("kind", subsampling.KINDS)
def test_subsampling_length_and_padding(factor, kind):
  layer = subsampling.ConvolutionSubsampling(8, factor, kind)
  x = tf.random.stateless_normal([1, 37, 20], [1, 2])
  layer.build((None, None, 20))
  for time in (1, 8, 23, 36, 37):
    want, length = layer(x[:, :time], tf.constant([time]))
    assert want.shape[1] == int(length[0]) == layer.frames(time)
    assert want.shape[1] == -(-time // factor)
    got, _ = layer(x, tf.constant([time]))
    np.testing.assert_allclose(got[:, : want.shape[1]], want, atol=1e-5)


def test_dropout_keeps_the_mean_and_the_rate():
  layer = dropout.ReplicaDropout(0.3, seed=1)
  got = layer(tf.ones([200, 200]), training=True).numpy()
  assert set(np.unique(got)) == {0, np.float32(1 / 0.7)}
  np.testing.assert_allclose((got == 0).mean(), 0.3, atol=0.01)
  assert np.any(got != layer(tf.ones([200, 200]), training=True))
  np.testing.assert_array_equal(layer(got), got)
  again = dropout.ReplicaDropout.from_config(layer.get_config())
  np.testing.assert_array_equal(again(tf.ones([200, 200]), training=True), got)


def test_dropout_differs_between_replicas(make_strategy):
  strategy = make_strategy(4)
  with strategy.scope():
    layer = dropout.ReplicaDropout(0.5, seed=1)

  @tf.function
  def run():
    def draw():
      return layer(tf.ones([64]), training=True)

    return strategy.run(draw)

  masks = strategy.experimental_local_results(run())
  assert len({mask.numpy().tobytes() for mask in masks}) == 4


def test_dropout_in_bfloat16():
  keras.config.set_dtype_policy("mixed_bfloat16")
  layer = dropout.ReplicaDropout(0.5)
  assert layer(tf.ones([8], tf.bfloat16), training=True).dtype == tf.bfloat16


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_rate_out_of_range(rate):
  with pytest.raises(ValueError, match=f"Received: rate={rate}"):
    dropout.ReplicaDropout(rate)


@pytest.mark.parametrize(
  "name", ["dim", "blocks", "heads", "kernel", "feed_forward_factor"]
)
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_out_of_range(name, value):
  fields = {"dim": 8, "blocks": 1, "heads": 2, name: value}
  message = rf"^{name} must be at least 1\. Received: {name}={value}$"
  with pytest.raises(ValueError, match=message):
    conformer.ConformerConfig(**fields)


def test_unknown_position():
  with pytest.raises(
    ValueError, match=r"position must be .*'rotary'.*Received: position='sine'"
  ):
    conformer.ConformerConfig(dim=8, blocks=1, heads=2, position="sine")


@pytest.mark.parametrize(
  ("position", "shift_free"), [("rotary", True), ("relative", "yes")]
)
def test_shift_free_is_of_relative_attention(position, shift_free):
  with pytest.raises(ValueError, match="^shift_free must be .*Received: "):
    conformer.ConformerConfig(
      dim=8, blocks=1, heads=2, position=position, shift_free=shift_free
    )


def test_an_encoder_computes_its_scores_as_it_is_told():
  rng = np.random.default_rng(0)
  x, lengths = rng.normal(size=[2, 24, 16]).astype(np.float32), [24, 17]
  outputs, weights = [], None
  for shift_free in (None, False, True):
    config = conformer.ConformerConfig(
      dim=8, blocks=2, heads=2, kernel=3, shift_free=shift_free
    )
    encoder = conformer.ConformerEncoder(config)
    encoder(x, tf.constant(lengths))
    forms = {block.attention.shift_free for block in encoder.blocks}
    assert forms == {shift_free}
    weights = weights or [rng.normal(size=w.shape) for w in encoder.weights]
    encoder.set_weights(weights)
    outputs.append(encoder(x, tf.constant(lengths))[0].numpy())
    again = conformer.ConformerEncoder.from_config(encoder.get_config())
    assert again.config == config
  np.testing.assert_array_equal(outputs[0], outputs[1])
  np.testing.assert_allclose(outputs[2], outputs[1], atol=1e-4)
  assert not np.array_equal(outputs[2], outputs[1])


@pytest.mark.parametrize("name", ["chunk_frames", "left_chunks"])
def test_chunks_out_of_range(name):
  fields = {"dim": 8, "blocks": 1, "heads": 2, name: -1}
  with pytest.raises(ValueError, match=f"{name} must be at least 0. Received"):
    conformer.ConformerConfig(**fields)

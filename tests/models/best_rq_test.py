"""BEST-RQ: codes, masks and metrics against NumPy; what is trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from models import best_rq
from models.layers import quantizer

ENCODER = {
  "dim": 16,
  "blocks": 1,
  "heads": 2,
  "kernel": 3,
  "dropout": 0.0,
  "subsampling": "conv1d",
}


def _build(**arguments):
  model = best_rq.BestRQ(
    **{
      "encoder": ENCODER,
      "features": {"mels": 8},
      "codebook_size": 32,
      "mask_ms": 120.0,
      **arguments,
    }
  )
  model.build_from_signature()
  return model


def _x(batch=4, samples=16000, seed=0):
  """Tones that change every 100 ms."""
  rng = np.random.default_rng(seed)
  pitch = np.repeat(rng.uniform(0.05, 2, [batch, samples // 1600]), 1600, 1)
  audio = 0.2 * np.sin(np.cumsum(pitch, axis=1))
  audio += 0.01 * rng.normal(size=audio.shape)
  lengths = np.full(batch, samples, np.int32)
  lengths[-1] = samples * 5 // 8
  return {
    "audio": tf.constant(audio, tf.float32),
    "audio_length": tf.constant(lengths),
  }


def test_codes_are_the_nearest():
  layer = quantizer.RandomProjectionQuantizer(50, 4, seed=3)
  x = np.random.default_rng(0).normal(size=[3, 7, 12]).astype(np.float32)
  codes = layer(x)
  projection, codebook = layer.get_weights()
  np.testing.assert_allclose(np.linalg.norm(codebook, axis=1), 1, atol=1e-5)
  projected = x @ projection
  projected /= np.linalg.norm(projected, axis=-1, keepdims=True)
  distances = np.linalg.norm(projected[..., None, :] - codebook, axis=-1)
  np.testing.assert_array_equal(codes, distances.argmin(-1))
  assert len(np.unique(codes)) > 5
  assert not layer.trainable_variables
  again = quantizer.RandomProjectionQuantizer(50, 4, seed=3)
  np.testing.assert_array_equal(again(x), codes)
  other = quantizer.RandomProjectionQuantizer(50, 4, seed=4)
  assert np.any(other(x) != codes)


@pytest.mark.parametrize("time", [1, 7, 8])
def test_stacked_frames(time):
  x = np.random.default_rng(0).normal(size=[2, time, 3]).astype(np.float32)
  got = quantizer.stack_frames(tf.constant(x), 4)
  want = np.pad(x, [[0, 0], [0, -time % 4], [0, 0]]).reshape(2, -1, 12)
  np.testing.assert_array_equal(got, want)


def test_spans():
  length, time, span, probability = np.array([300, 120, 5, 1, 0]), 300, 10, 0.04
  shares = []
  for seed in range(30):
    got = best_rq.random_spans(
      tf.constant(length, tf.int32), time, span, probability, [seed, 1]
    ).numpy()
    assert got.shape == (5, 300)
    for row, count in zip(got, length):
      assert not row[count:].any()
      assert row.any() == (count > 0)
      edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
      for start, stop in zip(edges[::2], edges[1::2]):
        assert stop - start >= span or stop == count
    shares.append(got[0].mean())
  # The share of frames within 10 of a start, but for the first ones.
  np.testing.assert_allclose(np.mean(shares), 1 - 0.96**10, atol=0.03)
  uniform = [
    best_rq.random_spans(tf.constant([5]), 5, 1, 0.0, [s, 2]).numpy()[0]
    for s in range(50)
  ]
  assert np.sum(uniform, axis=1).tolist() == [1] * 50
  assert np.sum(uniform, axis=0).min() > 2


def test_what_is_masked_is_hidden_and_what_is_told_is_the_clean_code():
  model, x = _build(), _x()
  seen = []
  encode = model.encoder.call
  model.encoder.call = lambda features, *args, **kwargs: (
    seen.append(features.numpy()) or encode(features, *args, **kwargs)
  )
  for training in (True, False):
    outputs = model(x, training=training)
    clean, _ = model.log_mel(x["audio"], x["audio_length"])
    codes = model.quantizer(quantizer.stack_frames(clean, 4))
    np.testing.assert_array_equal(outputs["codes"], codes)
    hidden = np.repeat(outputs["masked"], 4, axis=1)[:, : clean.shape[1]]
    noise = seen[-1][hidden]
    np.testing.assert_array_equal(seen[-1][~hidden], clean.numpy()[~hidden])
    np.testing.assert_allclose(noise.mean(), 0, atol=0.02)
    np.testing.assert_allclose(noise.std(), 0.1 * training, atol=0.02)
    assert outputs["logits"].shape == (*codes.shape, 32)
  again = model(x, training=False)
  np.testing.assert_array_equal(again["masked"], outputs["masked"])
  third = model(x, training=True)
  assert np.any(third["masked"] != model(x, training=True)["masked"])


def test_loss_and_metrics_count_masked_frames_only():
  model, x = _build(), _x()
  outputs = {k: v.numpy() for k, v in model(x, training=True).items()}
  loss = model.compute_loss(x, None, model(x, training=False))
  model.reset_metrics()
  logits = outputs["logits"].astype(np.float64)
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  masked, codes = outputs["masked"], outputs["codes"]
  per_example = []
  for b in range(4):
    frames = np.flatnonzero(masked[b])
    per_example.append(-np.mean([log_p[b, t, codes[b, t]] for t in frames]))
  loss = model.compute_loss(
    x, None, tf.nest.map_structure(tf.constant, outputs)
  )
  np.testing.assert_allclose(loss, np.mean(per_example), rtol=1e-5)
  right = (logits.argmax(-1) == codes)[masked]
  results = model.get_metrics_result()
  np.testing.assert_allclose(results["masked_accuracy"], right.mean(), 1e-5)
  np.testing.assert_allclose(
    results["codes_in_use"], len(np.unique(codes[masked])) / 32, rtol=1e-6
  )


@pytest.mark.parametrize("microbatches", [1, 2])
def test_it_learns_on_two_cores(make_strategy, microbatches):
  strategy = make_strategy(2)
  with strategy.scope():
    model = _build(codebook_size=8, codebook_dim=4)
    model.compile(
      optimizer=keras.optimizers.Adam(3e-3),
      clipping=tf_pcc.Clipping(
        bound=tf_pcc.MinBound(), microbatches=microbatches
      ),
    )
    model.optimizer.build(model.trainable_variables)
  before = model.quantizer.get_weights()
  x, y = _x(), {"labels": tf.zeros([4, 1], tf.int32)}

  @tf.function(autograph=False)
  def step():
    strategy.run(model.train_step, args=((x, y),))

  found = []
  for _ in range(2):
    for _ in range(12):
      step()
    found.append({k: float(v) for k, v in model.get_metrics_result().items()})
    model.reset_metrics()
  first, second = found
  assert set(first) == {"loss", "masked_accuracy", "codes_in_use"}
  assert second["loss"] < first["loss"] < np.log(8) + 1
  assert second["masked_accuracy"] > first["masked_accuracy"]
  assert 0.5 < second["codes_in_use"] <= 1
  for ours, theirs in zip(model.quantizer.get_weights(), before):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"codebook_size": 1}, "at least 2. Received: codebook_size=1"),
    ({"codebook_dim": 0}, "Received: codebook_dim=0"),
    ({"mask_probability": 1.5}, "at most 1. Received: mask_probability=1.5"),
    ({"noise_stddev": -1}, "Received: noise_stddev=-1"),
    ({"mask_ms": 10}, "40.0 ms. Received: mask_ms=10"),
  ],
)
def test_out_of_range_is_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    _build(**arguments)


def test_xla_compiles_and_agrees():
  model, x = _build(), _x()

  def loss(training):
    with tf.GradientTape() as tape:
      outputs = model(x, training=training)
      loss = model.compute_loss(x, None, outputs)
    return loss, tape.gradient(loss, model.trainable_variables)

  compiled = tf.function(loss, jit_compile=True, autograph=False)
  want, changes = loss(False)
  got, compiled_changes = compiled(False)
  np.testing.assert_allclose(got, want, rtol=1e-4)
  norm = tf.linalg.global_norm(changes)
  for ours, theirs in zip(compiled_changes, changes):
    assert tf.norm(ours - theirs) < 1e-3 * norm
  noisy, changes = compiled(True)
  assert np.isfinite(noisy) and tf.linalg.global_norm(changes) > 0

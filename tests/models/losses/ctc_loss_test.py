"""The CTC loss against all paths and TensorFlow's, and on unusual input."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from models.losses import ctc_loss

MODES = ["eager", "graph", "xla"]
# Three labels, repeats that just fit, one frame, no labels, a tight fit.
LABELS = [[1, 2, 3], [2, 2, 0], [3, 0, 0], [0, 0, 0], [1, 1, 1]]
COUNTS, LENGTHS = [3, 2, 1, 0, 3], [6, 3, 1, 5, 5]


def make_logits(batch=5, frames=6, vocab=4):
  rng = np.random.default_rng(0)
  return (2 * rng.normal(size=[batch, frames, vocab])).astype(np.float32)


def run(mode, logits, labels, counts, lengths, weights=None, function=None):
  """Losses [B], and the gradient of their (weighted) sum by the logits."""
  batch = [tf.constant(x) for x in (labels, counts, logits, lengths)]
  if weights is not None:
    batch.append(tf.constant(weights, tf.float32))
  losses, gradient = compiled(mode, function or ctc_loss.ctc_losses)(*batch)
  assert losses.dtype == tf.float32 and gradient.dtype == logits.dtype
  return losses.numpy(), tf.cast(gradient, tf.float32).numpy()


@functools.cache
def compiled(mode, function):
  """What `run` calls, traced and compiled once for each shape."""

  def losses_and_gradient(labels, counts, logits, lengths, weight=None):
    with tf.GradientTape() as tape:
      tape.watch(logits)
      losses = total = function(labels, counts, logits, lengths)
      if weight is not None:
        total = tf.where(weight > 0, losses * weight, 0.0)
    return losses, tape.gradient(total, logits)

  if mode == "eager":
    return losses_and_gradient
  return tf.function(
    losses_and_gradient, autograph=False, jit_compile=mode == "xla"
  )


def stock(labels, counts, logits, lengths):
  """TensorFlow's loss."""
  return tf.nn.ctc_loss(
    labels, logits, counts, lengths, logits_time_major=False, blank_index=0
  )


def enumerate_paths(logits, labels):
  logits = logits.astype(np.float64)
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  total = -np.inf
  for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
    collapsed = [k for k, _ in itertools.groupby(path) if k]
    if collapsed == list(labels):
      score = sum(log_p[t, k] for t, k in enumerate(path))
      total = np.logaddexp(total, score)
  return -total


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_loss_equals_enumeration(mode, dtype):
  logits = tf.cast(make_logits(), dtype)
  got, _ = run(mode, logits, LABELS, COUNTS, LENGTHS)
  for b in range(5):
    want = enumerate_paths(
      tf.cast(logits[b, : LENGTHS[b]], tf.float32).numpy(),
      LABELS[b][: COUNTS[b]],
    )
    np.testing.assert_allclose(got[b], want, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_gradient_equals_finite_differences_and_tensorflow(mode):
  logits, weights = make_logits(), [1, 0.5, 2, 3, 0.25]
  batch = LABELS, COUNTS, LENGTHS
  losses, gradient = run(mode, logits, *batch, weights)
  want, wanted = run(mode, logits, *batch, weights, stock)
  np.testing.assert_allclose(losses, want, rtol=1e-6)
  np.testing.assert_allclose(gradient, wanted, atol=1e-6)
  direction = np.random.default_rng(2).normal(size=logits.shape)
  direction /= np.linalg.norm(direction)
  sums = []
  for step in (-1e-2, 1e-2):
    moved = (logits + step * direction).astype(np.float32)
    moved, _ = run("eager", moved, *batch)
    sums.append(np.vdot(moved.astype(np.float64), weights))
  slope = (sums[1] - sums[0]) / 2e-2
  np.testing.assert_allclose(np.vdot(gradient, direction), slope, rtol=2e-3)


def test_realistic_size_equals_tensorflow():
  logits = make_logits(8, 200, 64)
  labels = np.random.default_rng(1).integers(1, 64, [8, 50])
  batch = labels, [50, 49, 30, 10, 1, 0, 50, 5], [200, 99, 150, 1, 9, 7, 180, 9]
  batch[2][3] = 20
  losses, gradient = run("graph", logits, *batch)
  want, wanted = run("graph", logits, *batch, function=stock)
  assert np.isfinite(losses).all()
  np.testing.assert_allclose(losses, want, rtol=1e-6)
  np.testing.assert_allclose(gradient, wanted, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_hopeless_utterances(mode):
  """More labels than frames, a repeat too many, no frames at all."""
  labels = [[1, 2, 3], [1, 1, 2], [1, 2, 3], [1, 2, 3], [1, 1, 2]]
  counts, lengths = [3, 3, 1, 0, 3], [2, 3, 0, 0, 4]
  logits = make_logits()
  losses, gradient = run(mode, logits, labels, counts, lengths)
  np.testing.assert_array_equal(losses[:4], [np.inf, np.inf, np.inf, 0])
  assert not np.any(gradient[:4])
  # The last one is as if it were alone, also in a mean.
  want, wanted = run(mode, logits[4:], labels[4:], [3], [4])
  np.testing.assert_allclose(losses[4], want[0], rtol=1e-6)
  np.testing.assert_allclose(gradient[4], wanted[0], atol=1e-6)
  _, of_mean = run(mode, logits, labels, counts, lengths, [0.2] * 5)
  np.testing.assert_allclose(of_mean, 0.2 * gradient, atol=1e-6)


@pytest.mark.parametrize("columns", [0, 2])
@pytest.mark.parametrize("frames", [0, 3])
@pytest.mark.parametrize("mode", MODES)
def test_tensors_without_frames_or_labels(mode, frames, columns):
  logits = make_logits(2, frames)
  labels = np.ones([2, columns], np.int32)
  counts = [0, columns]
  losses, gradient = run(mode, logits, labels, counts, [frames] * 2)
  assert gradient.shape == logits.shape and np.isfinite(gradient).all()
  blanks = tf.nn.log_softmax(logits)[..., 0].numpy().sum(-1)
  np.testing.assert_allclose(losses[0], -blanks[0], rtol=1e-6)
  assert not np.signbit(losses[0]) or frames
  if columns and not frames:
    assert losses[1] == np.inf
  elif columns:
    # Both ones need the blank between them.
    want = enumerate_paths(logits[1], [1, 1])
    np.testing.assert_allclose(losses[1], want, rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_finite_stays_in_its_utterance(mode, value):
  logits = make_logits()
  want, wanted = run(mode, logits, LABELS, COUNTS, LENGTHS)
  logits[0, 2, 1] = value
  logits[1, 3:] = value  # Behind the end.
  losses, gradient = run(mode, logits, LABELS, COUNTS, LENGTHS)
  assert np.isnan(losses[0]) and np.isnan(gradient[0]).all()
  np.testing.assert_allclose(losses[1:], want[1:], rtol=1e-6)
  np.testing.assert_allclose(gradient[1:], wanted[1:], atol=1e-6)
  assert not np.any(gradient[1, 3:])
  # Left out of the sum, it does no harm.
  _, gradient = run(mode, logits, LABELS, COUNTS, LENGTHS, [0, 1, 1, 1, 2])
  assert np.isfinite(gradient).all() and not np.any(gradient[0])
  np.testing.assert_allclose(gradient[4], 2 * wanted[4], atol=1e-6)


@pytest.mark.parametrize(
  ("field", "labels", "count", "length"),
  [
    ("length", [1, 2], 2, 7),
    ("length", [1, 2], 2, -1),
    ("label_length", [1, 2], 3, 6),
    ("label_length", [1, 2], -1, 6),
    ("labels", [1, 4], 2, 6),
    ("labels", [1, -1], 2, 6),
    ("labels", [0, 1], 2, 6),
    # As 32 bits these would be 1.
    ("labels", np.int64([1, 2**32 + 1]), 2, 6),
    ("length", [1, 2], 2, 2**32 + 1),
  ],
)
def test_wrong_values(field, labels, count, length):
  logits = make_logits(2)
  batch = [labels, [1, 2]], [count, 2], [length, 6]
  with pytest.raises(ValueError, match=rf"^{field} must .* Received: {field}="):
    run("eager", logits, *batch)
  for mode in ("graph", "xla"):
    losses, gradient = run(mode, logits, *batch)
    assert np.isnan(losses[0]) and np.isnan(gradient[0]).any()
    want, wanted = run(mode, logits[1:], [[1, 2]], [2], [6])
    np.testing.assert_allclose(losses[1:], want, rtol=1e-6)
    np.testing.assert_allclose(gradient[1:], wanted, atol=1e-6)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"labels": [1, 2]}, "labels must have the shape"),
    ({"labels": [[1.0, 2.0]]}, "labels must be integers"),
    ({"length": [3, 3]}, "length must have one row for each of 1"),
    ({"label_length": [[2]]}, "label_length must be integers"),
    ({"logits": np.zeros([3, 4])}, "logits must have the shape"),
  ],
)
def test_wrong_shapes(changes, message):
  arguments = {
    "labels": [[1, 2]],
    "label_length": [2],
    "logits": tf.zeros([1, 3, 4]),
    "length": [3],
    **changes,
  }
  with pytest.raises(ValueError, match=f"{message}.*Received: "):
    ctc_loss.ctc_losses(**arguments)


def test_unknown_sizes():
  """A graph traced for any batch, frames and labels."""
  logits = make_logits()
  want, wanted = run("eager", logits, LABELS, COUNTS, LENGTHS)
  integers = tf.TensorSpec([None], tf.int32)

  @tf.function(
    input_signature=[
      tf.TensorSpec([None, None], tf.int32),
      integers,
      tf.TensorSpec([None, None, 4]),
      integers,
    ]
  )
  def both(labels, counts, logits, lengths):
    with tf.GradientTape() as tape:
      tape.watch(logits)
      losses = ctc_loss.ctc_losses(labels, counts, logits, lengths)
    return losses, tape.gradient(losses, logits)

  losses, gradient = both(LABELS, COUNTS, logits, LENGTHS)
  np.testing.assert_allclose(losses, want, rtol=1e-5)
  np.testing.assert_allclose(gradient, wanted, atol=1e-5)


def test_gradient_of_the_gradient_is_refused():
  logits = tf.constant(make_logits())
  with tf.GradientTape() as outer:
    outer.watch(logits)
    with tf.GradientTape() as tape:
      tape.watch(logits)
      losses = ctc_loss.ctc_losses(LABELS, COUNTS, logits, LENGTHS)
    gradient = tape.gradient(losses, logits)
  with pytest.raises(NotImplementedError, match="differentiated again"):
    outer.gradient(gradient, logits)

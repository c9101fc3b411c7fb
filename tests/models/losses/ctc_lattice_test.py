"""The CTC lattice at sizes of real utterances, against float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.losses import ctc_loss

FRAMES, LABELS, CLASSES = 420, 250, 32
KINDS = ("likes the blank", "likes nothing", "knows", "knows others")


def make(kind, dtype="float32"):
  """Logits [T, V] of a network that likes or knows something; labels [U]."""
  rng = np.random.default_rng(0)
  logits = rng.normal(size=[FRAMES, CLASSES]) / 2
  labels = rng.integers(1, CLASSES, [LABELS])
  if kind == "likes the blank":
    # As an output layer starts that is to say it in 9 frames of 10.
    logits[:, 0] += np.log(9 * (CLASSES - 1))
  elif kind.startswith("knows"):
    known = labels if kind == "knows" else labels[::-1]
    frames = np.arange(LABELS) * FRAMES // LABELS
    logits[frames, known] += 12
  return tf.cast(logits, dtype), labels


def reference(logits, labels):
  """Loss and gradient by alphas and betas in float64."""
  log_p = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
  states = np.zeros(2 * len(labels) + 1, int)
  states[1::2] = labels
  skip = np.zeros(len(states), bool)
  skip[3::2] = states[3::2] != states[1:-2:2]
  scores = log_p[:, states]
  nothing = np.full(2, -np.inf)

  def arcs(came, may_skip):
    one = np.concatenate([nothing[:1], came[:-1]])
    two = np.concatenate([nothing, came[:-2]])
    two = np.where(may_skip, two, -np.inf)
    return np.logaddexp(np.logaddexp(came, one), two)

  alpha = np.full(scores.shape, -np.inf)
  beta = alpha.copy()
  alpha[0, :2], beta[-1, -2:] = scores[0, :2], 0
  # Backwards the skips are those of the state they lead to.
  led = np.concatenate([skip[2:], [False, False]])[::-1]
  for t in range(1, len(scores)):
    alpha[t] = arcs(alpha[t - 1], skip) + scores[t]
    u = len(scores) - 1 - t
    beta[u] = arcs((beta[u + 1] + scores[u + 1])[::-1], led)[::-1]
  log_likelihood = np.logaddexp(alpha[-1, -1], alpha[-1, -2])
  occupancy = np.exp(alpha + beta - log_likelihood)
  gradient = np.exp(log_p)
  for state, column in zip(states, occupancy.T, strict=True):
    gradient[:, state] -= column
  return -log_likelihood, gradient


def differentiated(logits, labels, function):
  """Losses [1] and the gradient by the logits, in float32."""
  frames, count = logits.shape[0], labels.shape[0]
  with tf.GradientTape() as tape:
    tape.watch(logits)
    loss = function(labels[None], [count], logits[None], [frames])
  return loss, tf.cast(tape.gradient(loss, logits), tf.float32)


def ours(logits, labels):
  loss, gradient = differentiated(logits, labels, ctc_loss.ctc_losses)
  return float(loss[0]), gradient.numpy().astype(np.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_long_utterances_equal_float64(kind):
  logits, labels = make(kind)
  loss, gradient = ours(logits, labels)
  want, wanted = reference(logits.numpy().astype(np.float64), labels)
  assert want > 700 or kind == "knows"
  np.testing.assert_allclose(loss, want, rtol=1e-6)
  np.testing.assert_allclose(gradient, wanted, atol=1e-4)
  # A frame's gradient sums to 0: it is a difference of two distributions.
  np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_lower_precision_is_that_of_the_logits(kind):
  logits, labels = make(kind, "bfloat16")
  loss, gradient = ours(logits, labels)
  want, wanted = reference(
    tf.cast(logits, tf.float32).numpy().astype(np.float64), labels
  )
  np.testing.assert_allclose(loss, want, rtol=1e-6)
  np.testing.assert_allclose(gradient, wanted, atol=4e-3)


def tensorflows(labels, label_length, logits, length):
  return tf.nn.ctc_loss(
    labels, logits, label_length, length, logits_time_major=False, blank_index=0
  )


def kerass(labels, label_length, logits, length):
  label_length, length = tf.constant(label_length), tf.constant(length)
  return keras.ops.ctc_loss(labels, logits, label_length, length, mask_index=0)


@pytest.mark.parametrize("stock", [tensorflows, kerass])
def test_what_tensorflow_and_keras_make_of_them(stock):
  """When this fails, theirs may be used again."""
  logits, labels = make("likes the blank")
  # In a graph, which frees on the way the 2 GB that a tape would hold.
  in_graph = tf.function(differentiated, autograph=False)
  losses, by_logits = in_graph(logits, labels, stock)
  loss, gradient = float(losses[0]), by_logits.numpy().astype(np.float64)
  want, wanted = reference(logits.numpy().astype(np.float64), labels)
  print(f"{loss:.0f} nats instead of {want:.0f}")
  assert loss < 0.9 * want
  assert np.vdot(gradient, wanted) < 0


@pytest.mark.parametrize("repeats", [False, True])
def test_losses_add_up_to_all_that_can_be_said(repeats):
  """Over all label sequences of up to 3 labels the probabilities sum to 1."""
  logits = tf.random.stateless_normal([3, 3], [4, 2])
  sequences = [[0, 0, 0]]
  sequences += [[a, 0, 0] for a in (1, 2)]
  sequences += [[a, b, 0] for a in (1, 2) for b in (1, 2)]
  sequences += [[1, 2, 1], [2, 1, 2]]
  if not repeats:
    # Without those that say a label twice some probability is missing.
    sequences = [s for s in sequences if s[0] != s[1] or not s[0]]
  count = [sum(map(bool, s)) for s in sequences]
  logits = tf.tile(logits[None], [len(sequences), 1, 1])
  losses = ctc_loss.ctc_losses(sequences, count, logits, [3] * len(sequences))
  total = np.exp(-losses.numpy().astype(np.float64)).sum()
  assert abs(total - 1) < 1e-6 if repeats else total < 0.999

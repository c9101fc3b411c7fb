"""The transducer's loss on a small batch, in every form and mode."""

import functools

import numpy as np
import tensorflow as tf

from models.losses import transducer_joint, transducer_loss

FORMS = ["plain", "fused"]
MODES = ["eager", "graph", "xla"]
# Utterances of four frames and three labels, shorter ones, none, one frame.
LABELS = [[1, 2, 3], [2, 2, 0], [4, 0, 0], [1, 3, 1], [3, 1, 0]]
COUNTS, LENGTHS = [3, 2, 0, 3, 1], [4, 3, 4, 1, 1]
SIZES = {"batch": 5, "frames": 4, "columns": 4, "vocab": 5}


def make_inputs(batch, frames, columns, vocab, dim=3, hidden=6, seed=0):
  """Encoder, prediction and joint weights, float32 arrays."""
  rng = np.random.default_rng(seed)
  shapes = [
    [batch, frames, dim],
    [batch, columns, dim + 1],
    [dim, hidden],
    [dim + 1, hidden],
    [hidden],
    [hidden, vocab],
    [vocab],
  ]
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def make_logits(inputs):
  encoder, prediction, *weights = inputs
  return transducer_joint.joint_logits(
    encoder, prediction, transducer_joint.JointWeights(*weights)
  )


def run(form, mode, inputs, labels, counts, lengths, weights=None, **options):
  """Losses [B], and gradients of their (weighted) sum.

  The inputs are [logits] for the plain form, those of `make_inputs` for the
  fused one.
  """
  labels, counts, lengths = map(tf.constant, (labels, counts, lengths))
  if weights is not None:
    weights = tf.constant(weights, tf.float32)
  losses, gradients = compiled(form, mode, **options)(
    labels, counts, lengths, weights, *map(tf.constant, inputs)
  )
  assert losses.dtype == tf.float32
  return losses.numpy(), gradients


@functools.cache
def compiled(form, mode, **options):
  """What `run` calls, traced and compiled once for each shape."""

  def losses_and_gradients(labels, counts, lengths, weight, *inputs):
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      if form == "plain":
        losses = transducer_loss.transducer_losses(
          labels, counts, *inputs, lengths, **options
        )
      else:
        encoder, prediction, *joint = inputs
        losses = transducer_loss.fused_transducer_losses(
          labels,
          counts,
          encoder,
          prediction,
          lengths,
          transducer_joint.JointWeights(*joint),
          **options,
        )
      total = losses
      if weight is not None:
        total = tf.where(weight > 0, losses * weight, 0.0)
    return losses, tape.gradient(total, inputs)

  if mode == "eager":
    return losses_and_gradients
  return tf.function(
    losses_and_gradients, autograph=False, jit_compile=mode == "xla"
  )


def reference(logits, labels, counts, lengths, naive, blank=0):
  losses, gradients = [], np.zeros(logits.shape)
  for b in range(len(logits)):
    valid = np.s_[: lengths[b], : counts[b] + 1]
    loss, gradient = naive(
      np.asarray(logits[b], np.float64)[valid], labels[b][: counts[b]], blank
    )
    losses.append(loss)
    gradients[b][valid] = gradient
  return np.array(losses), gradients


def through_joint(inputs, change):
  """NumPy gradient of the inputs, from that of the logits."""
  encoder, prediction, we, wp, bias, wo, _ = (x.astype(float) for x in inputs)
  sums = (encoder @ we)[:, :, None] + (prediction @ wp)[:, None] + bias
  hidden = np.tanh(sums)
  before = (change @ wo.T) * (1 - hidden**2)
  of_encoder, of_prediction = before.sum(axis=2), before.sum(axis=1)
  return [
    of_encoder @ we.T,
    of_prediction @ wp.T,
    np.einsum("btd,bth->dh", encoder, of_encoder),
    np.einsum("bup,buh->ph", prediction, of_prediction),
    before.sum(axis=(0, 1, 2)),
    np.einsum("btuh,btuv->hv", hidden, change),
    change.sum(axis=(0, 1, 2)),
  ]

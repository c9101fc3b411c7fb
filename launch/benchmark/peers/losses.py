"""CTC and transducer losses with their gradients, of given logits."""

import numpy as np
import tensorflow as tf

from launch.benchmark import untrained
from launch.benchmark.peers import packages, turns
from models.losses import ctc_loss, transducer_loss

# Losses of a thousand nats in float32, and where they are small, gradients.
TOLERANCE = 1e-3


def ours(kind: str, **sizes: int) -> turns.Side:
  """This package's loss.

  Args:
    kind: "ctc" or "transducer".
    **sizes: batch, frames, labels, vocab.

  Returns:
    The side; its outputs are the losses and their gradient.
  """
  logits, labels, lengths, counts = map(tf.constant, _batch(kind, sizes))
  function = {
    "ctc": ctc_loss.ctc_losses,
    "transducer": transducer_loss.transducer_losses,
  }[kind]

  @tf.function(autograph=False)
  def run(logits):
    with tf.GradientTape() as tape:
      tape.watch(logits)
      losses = function(labels, counts, logits, lengths)
    return losses, tape.gradient(losses, logits)

  return _side(lambda: run(logits))


def torchs(kind: str, **sizes: int) -> turns.Side:
  """torch.nn.CTCLoss, or torchaudio's transducer loss.

  Args:
    kind: as of `ours`.
    **sizes: as of `ours`.

  Returns:
    The side.
  """
  torch = packages.require("torch")
  logits, labels, lengths, counts = map(torch.from_numpy, _batch(kind, sizes))
  logits.requires_grad_()
  if kind == "ctc":
    ctc = torch.nn.CTCLoss(reduction="none")

    def losses():
      log_p = torch.log_softmax(logits, dim=-1).transpose(0, 1)
      return ctc(log_p, labels, lengths, counts)

  else:
    rnnt_loss = packages.require("torchaudio").functional.rnnt_loss

    def losses():
      return rnnt_loss(
        logits, labels, lengths, counts, blank=0, reduction="none"
      )

  def run():
    logits.grad = None
    found = losses()
    found.sum().backward()
    return found.detach(), logits.grad

  return _side(run)


def optaxs(kind: str, **sizes: int) -> turns.Side:
  """optax.ctc_loss under jax.jit.

  Args:
    kind: "ctc".
    **sizes: as of `ours`.

  Returns:
    The side.
  """
  jax = packages.require("jax")
  optax = packages.require("optax")
  logits, labels, *_ = map(jax.numpy.asarray, _batch(kind, sizes))
  # 1 where there is no frame, or no label: all are of one length.
  paddings = (jax.numpy.zeros(x.shape[:2]) for x in (logits, labels))
  no_frames, no_labels = paddings

  def total(logits):
    losses = optax.ctc_loss(logits, no_frames, labels, no_labels)
    return losses.sum(), losses

  compiled = jax.jit(jax.value_and_grad(total, has_aux=True))

  def run():
    (_, losses), gradient = compiled(logits)
    return jax.block_until_ready((losses, gradient))

  return _side(run)


def _side(run):
  return turns.Side(run, outputs=[np.asarray(x) for x in run()])


def _batch(kind, sizes):
  return untrained.batch(sizes, columns=kind == "transducer")

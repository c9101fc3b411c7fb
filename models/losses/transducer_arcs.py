"""Losses of a transducer's lattice, and the weights of its arcs' gradients.

What `transducer_lattice` computes, with what unusual input gives; the table is
in `transducer_loss`.
"""

from collections.abc import Sequence

import tensorflow as tf

from models import signatures
from models.losses import targets, transducer_lattice


def losses(
  given: targets.Targets, blank: tf.Tensor, label: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Losses from the log probabilities of the arcs.

  Args:
    given: labels and lengths.
    blank: float32 [B, T, U + 1].
    label: float32 [B, T, U + 1].

  Returns:
    float32 [B], nats, and what `occupancies` takes.
  """
  log_likelihood, log_odds = transducer_lattice.forward(
    blank, label, given.length, given.label_length
  )
  loss = tf.where(given.wrong, float("nan"), 0.0 - log_likelihood)
  return loss, log_odds


def occupancies(
  given: targets.Targets, log_odds: tf.Tensor, frames: signatures.Size
) -> tuple[tf.Tensor, tf.Tensor]:
  """Probabilities, given the labels, of taking each arc.

  Args:
    given: labels and lengths.
    log_odds: second result of `losses`.
    frames: int, T.

  Returns:
    Two float32 [B, T, U + 1], of blanks and of labels.
  """
  return transducer_lattice.occupancies(
    log_odds, given.length, given.label_length, frames
  )


def weigh(
  arcs: Sequence[tf.Tensor], loss: tf.Tensor, upstream: tf.Tensor
) -> list[tf.Tensor]:
  """Occupancies times the gradient of the loss.

  Args:
    arcs: float32 [B, T, U + 1] each.
    loss: float32 [B].
    upstream: float [B], the gradient of what the losses are part of.

  Returns:
    As many tensors like them: 0 for an utterance that is left out or has no
    path, NaN for another whose loss is.
  """
  loss = loss[:, None, None]
  # The caller's tape has no use for what follows: `targets.once` refuses.
  upstream = tf.stop_gradient(tf.cast(upstream, tf.float32))[:, None, None]
  left_out = tf.equal(upstream, 0.0) | tf.math.is_inf(loss)
  unknown = tf.math.is_nan(loss)
  return [
    tf.where(left_out, 0.0, tf.where(unknown, float("nan"), arc * upstream))
    for arc in arcs
  ]

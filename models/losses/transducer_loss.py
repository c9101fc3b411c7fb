"""The loss of a transducer, from logits, or fused with the joint network.

Source: Graves, "Sequence Transduction with Recurrent Neural Networks", 2012,
arXiv 1211.3711; the gradient with respect to logits, and slices in place of one
array of all, as in Li, Zhao, Hu and Gong, "Improving RNN Transducer Modeling
for End-to-End Speech Recognition", 2019, arXiv 1909.12415.

What it gives to unusual input, in training code and in a compiled graph alike:

| utterance | loss | gradient |
|---|---|---|
| no labels | all its frames are blank | of that |
| no frames, no labels | 0 | 0 |
| no frames, but labels | inf: no path says them | 0 |
| labels of probability 0 (logits of -inf) | inf | 0 |
| NaN in a valid frame | NaN | NaN |
| anything outside of its lengths, NaN too | as without it | exactly 0 there |
| lengths beyond the tensor, labels that are no class or blank | NaN | NaN |
| left out: the gradient of its loss is 0 | as it is | 0, never NaN |

Eagerly what is wrong is a ValueError; a graph on a TPU cannot raise one.
"""

import tensorflow as tf

from models.losses import (
  targets,
  transducer_joint,
  transducer_lattice,
  transducer_slices,
)


def transducer_losses(
  labels: tf.types.experimental.TensorLike,
  label_length: tf.types.experimental.TensorLike,
  logits: tf.types.experimental.TensorLike,
  length: tf.types.experimental.TensorLike,
  *,
  blank_index: int = 0,
) -> tf.Tensor:
  """Transducer loss of every utterance, from logits.

  Computed in float32 in the log domain. Besides the logits and their gradient
  nothing is as large as they are. The gradient cannot be differentiated again.

  Args:
    labels: int [B, U], padded; no label is the blank.
    label_length: int [B].
    logits: float [B, T, U + 1, V] of any precision, not normalized; column u is
      the state after u labels.
    length: int [B], valid frames.
    blank_index: int, class of the blank.

  Returns:
    float32 [B], -log P(labels | frames) in nats.

  Raises:
    ValueError: If shapes, labels or lengths do not fit, see the module.

  Example:
    >>> logits = tf.zeros([1, 2, 2, 4])  # Two paths of three arcs of 1/4.
    >>> loss = transducer_losses([[3]], [1], logits, [2])
    >>> print(f"{loss[0]:.4f}")
    3.4657
  """
  logits = targets.shaped("logits", logits, "[B, T, U + 1, V]")
  batch, frames, columns, vocab = targets.sizes(logits)
  given = targets.Targets(
    labels, label_length, length, batch, frames, columns, vocab, blank_index
  )

  @targets.custom_gradient
  def losses(watched):
    # Or the caller's tape would record, and hold, what is computed here.
    logits = tf.stop_gradient(watched)
    normalizer, *log_probabilities = transducer_slices.scores(
      logits, given.tokens, blank_index
    )
    loss, log_odds = _losses(given, *log_probabilities)

    def gradient(upstream):
      blank, label = _arcs(given, loss, log_odds, upstream, frames)
      change = transducer_slices.gradient(
        logits, given.tokens, normalizer, blank, label, blank_index
      )
      return targets.once(change, watched)

    return loss, gradient

  return losses(logits)


def fused_transducer_losses(
  labels: tf.types.experimental.TensorLike,
  label_length: tf.types.experimental.TensorLike,
  encoder: tf.types.experimental.TensorLike,
  prediction: tf.types.experimental.TensorLike,
  length: tf.types.experimental.TensorLike,
  joint: transducer_joint.JointWeights,
  *,
  blank_index: int = 0,
  slice_frames: int | None = None,
) -> tf.Tensor:
  """`transducer_losses` of `joint_logits`, which are never held.

  They are computed for some frames at a time, and once more for the gradient:
  a fourth matrix product in exchange for all memory of size [B, T, U + 1, V].

  Args:
    labels: int [B, U], padded; no label is the blank.
    label_length: int [B].
    encoder: float [B, T, D] of any precision.
    prediction: float [B, U + 1, P]; row u has seen u labels.
    length: int [B], valid frames.
    joint: `transducer_joint.JointWeights`.
    blank_index: int, class of the blank.
    slice_frames: int, frames that are worked on at a time; by default as many
      as make a million logits.

  Returns:
    float32 [B], -log P(labels | frames) in nats; has gradients with respect to
    encoder, prediction and all weights.

  Raises:
    ValueError: If shapes, labels or lengths do not fit, see the module.

  Example:
    >>> joint = transducer_joint.JointWeights(
    ...   tf.ones([3, 5]), tf.ones([2, 5]), tf.zeros([5]), tf.zeros([5, 4]),
    ...   tf.zeros([4]))
    >>> loss = fused_transducer_losses(
    ...   [[3]], [1], tf.ones([1, 2, 3]), tf.ones([1, 2, 2]), [2], joint)
    >>> print(f"{loss[0]:.4f}")
    3.4657
  """
  encoder, prediction, joint = transducer_joint.as_float32(
    encoder, prediction, joint
  )
  batch, frames, _ = targets.sizes(encoder)
  columns = targets.sizes(prediction)[1]
  vocab = targets.sizes(joint.output_kernel)[1]
  given = targets.Targets(
    labels, label_length, length, batch, frames, columns, vocab, blank_index
  )
  size = _slice_frames(slice_frames, batch, frames, columns, vocab)
  # Padding may be NaN, which a product with 0 would carry into the weights.
  inside = tf.sequence_mask(given.length, frames)[..., None]
  encoder = tf.where(inside, encoder, 0.0)
  inside = tf.sequence_mask(given.label_length + 1, columns)[..., None]
  prediction = tf.where(inside, prediction, 0.0)

  @targets.custom_gradient
  def losses(*watched):
    # Or the caller's tape would record, and hold, what is computed here.
    encoder, prediction, kernel, bias = (tf.stop_gradient(x) for x in watched)
    normalizer, *log_probabilities = transducer_slices.joint_scores(
      encoder, prediction, kernel, bias, given.tokens, blank_index, size
    )
    loss, log_odds = _losses(given, *log_probabilities)

    def gradient(upstream):
      blank, label = _arcs(given, loss, log_odds, upstream, frames)
      changes = transducer_slices.joint_gradient(
        encoder,
        prediction,
        kernel,
        bias,
        given.tokens,
        normalizer,
        blank,
        label,
        blank_index,
        size,
      )
      return [targets.once(change, *watched) for change in changes]

    return loss, gradient

  return losses(
    *transducer_joint.project(encoder, prediction, joint),
    joint.output_kernel,
    joint.output_bias,
  )


def _slice_frames(slice_frames, *sizes):
  if slice_frames is None:
    return transducer_slices.default_frames(*sizes)
  if slice_frames < 1:
    raise ValueError(
      "slice_frames must be at least 1, or None. "
      f"Received: slice_frames={slice_frames}"
    )
  frames = sizes[1]
  if tf.is_tensor(frames):
    return tf.maximum(1, tf.minimum(slice_frames, frames))
  return max(1, min(slice_frames, frames))


def _losses(given, blank, label):
  """Losses [B], and what `_arcs` needs, from log probabilities."""
  log_likelihood, log_odds = transducer_lattice.forward(
    blank, label, given.length, given.label_length
  )
  loss = tf.where(given.wrong, float("nan"), 0.0 - log_likelihood)
  return loss, log_odds


def _arcs(given, loss, log_odds, upstream, frames):
  """Occupancies of blanks and labels, times the gradient of the loss."""
  loss = loss[:, None, None]
  upstream = tf.cast(upstream, tf.float32)[:, None, None]
  left_out = tf.equal(upstream, 0.0) | tf.math.is_inf(loss)
  blank, label = (
    tf.where(
      left_out,
      0.0,
      tf.where(tf.math.is_nan(loss), float("nan"), arc * upstream),
    )
    for arc in transducer_lattice.occupancies(
      log_odds, given.length, given.label_length, frames
    )
  )
  return blank, label

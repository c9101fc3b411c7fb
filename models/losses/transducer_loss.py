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

Eagerly what is wrong is a ValueError; a graph on a TPU cannot raise one. Where
the joint network is part of the loss, a NaN in a valid frame also reaches the
gradients of its weights if that utterance is left out.
"""

import tensorflow as tf

from models import signatures
from models.losses import (
  targets,
  transducer_arcs,
  transducer_joint,
  transducer_joint_slices,
  transducer_slices,
  transducer_windows,
)
from models.losses.log_zero import LOG_ZERO


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
    normalizer, blank, label = transducer_slices.scores(
      logits, given.tokens[:, None], blank_index
    )
    loss, log_odds = transducer_arcs.losses(given, blank, label)

    def gradient(upstream):
      arcs = transducer_arcs.occupancies(given, log_odds, frames)
      blank, label = transducer_arcs.weigh(arcs, loss, upstream)
      change = transducer_slices.gradient(
        logits, given.tokens[:, None], normalizer, blank, label, blank_index
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
  given, encoder, prediction, joint, sizes = checked(
    labels, label_length, encoder, prediction, length, joint, blank_index
  )
  size = transducer_slices.slice_frames(slice_frames, *sizes)
  return joint_losses(given, encoder, prediction, joint, blank_index, size)


def checked(
  labels: tf.types.experimental.TensorLike,
  label_length: tf.types.experimental.TensorLike,
  encoder: tf.types.experimental.TensorLike,
  prediction: tf.types.experimental.TensorLike,
  length: tf.types.experimental.TensorLike,
  joint: transducer_joint.JointWeights,
  blank_index: int,
) -> tuple[
  targets.Targets,
  tf.Tensor,
  tf.Tensor,
  transducer_joint.JointWeights,
  list[signatures.Size],
]:
  """What `joint_losses` takes, from the arguments of `fused_transducer_losses`.

  Args:
    labels: int [B, U].
    label_length: int [B].
    encoder: float [B, T, D].
    prediction: float [B, U + 1, P].
    length: int [B].
    joint: `transducer_joint.JointWeights`.
    blank_index: int.

  Returns:
    `Targets`; encoder, prediction and weights in float32, the first two 0
    outside of the lengths; the sizes B, T, U + 1 and V.

  Raises:
    ValueError: If shapes, labels or lengths do not fit, see the module.
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
  encoder, prediction = given.masked(encoder, prediction)
  return given, encoder, prediction, joint, [batch, frames, columns, vocab]


def joint_losses(
  given: targets.Targets,
  encoder: tf.Tensor,
  prediction: tf.Tensor,
  joint: transducer_joint.JointWeights,
  blank_index: int,
  slice_frames: signatures.Size,
  windows: transducer_windows.Windows | None = None,
) -> tf.Tensor:
  """`fused_transducer_losses` of what has been checked, of all paths or some.

  Args:
    given: labels and lengths.
    encoder: float32 [B, T, D], finite outside of the lengths.
    prediction: float32 [B, U + 1, P], the same.
    joint: `transducer_joint.JointWeights` of float32 tensors.
    blank_index: int.
    slice_frames: int, frames of a slice.
    windows: the columns of every frame that paths may use, or None for all.

  Returns:
    float32 [B].
  """
  frames, columns = targets.sizes(encoder)[1], targets.sizes(prediction)[1]

  @targets.custom_gradient
  def losses(*watched):
    # Or the caller's tape would record, and hold, what is computed here.
    encoder, prediction, kernel, bias = (tf.stop_gradient(x) for x in watched)
    normalizer, blank, label = transducer_joint_slices.joint_scores(
      encoder,
      prediction,
      kernel,
      bias,
      given.tokens,
      blank_index,
      slice_frames,
      windows,
    )
    if windows:
      blank, label = (
        transducer_windows.spread(x, windows, columns, LOG_ZERO)
        for x in (blank, label)
      )
    loss, log_odds = transducer_arcs.losses(given, blank, label)

    def gradient(upstream):
      arcs = transducer_arcs.occupancies(given, log_odds, frames)
      blank, label = transducer_arcs.weigh(arcs, loss, upstream)
      if windows:
        blank, label = (
          transducer_windows.narrow(x, windows) for x in (blank, label)
        )
      changes = transducer_joint_slices.joint_gradient(
        encoder,
        prediction,
        kernel,
        bias,
        given.tokens,
        normalizer,
        blank,
        label,
        blank_index,
        slice_frames,
        windows,
      )
      return [targets.once(change, *watched) for change in changes]

    return loss, gradient

  return losses(
    *transducer_joint.project(encoder, prediction, joint),
    joint.output_kernel,
    joint.output_bias,
  )

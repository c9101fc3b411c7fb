"""The loss of a transducer whose joint network is a sum, without its logits.

logits[t, u] = encoder[t] encoder_kernel + prediction[u] prediction_kernel +
bias, so that the sum over the classes that normalizes them is a matrix product
of exponentials: nothing has the size [B, T, U + 1, V].

The log probabilities of the lattice are mixed from three joint networks:

- with the weight 1 - lm_only_scale - am_only_scale, the sum above;
- with lm_only_scale, what prediction adds to it, and the bias, alone;
- with am_only_scale, what encoder adds, and the logarithm of the mean, over the
  utterance's own columns, of the probabilities that prediction alone gives.

Source: Kuang et al., "Pruned RNN-T for fast, memory-efficient ASR training",
Interspeech 2022, arXiv 2206.13236, section 3. Here the mean is an utterance's,
so that its loss does not depend on what else is in the batch.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from models import signatures
from models.losses import (
  compiling,
  frame_slices,
  targets,
  transducer_arcs,
)

# Added to sums of exponentials whose largest factors are 1: where the classes
# that encoder and prediction want are 69 nats apart, log(0) and its gradient.
_TINY = 1e-30


class SimpleWeights(NamedTuple):
  """Weights of the additive joint network, tensors or variables.

  Attributes:
    encoder_kernel: float [D, V].
    prediction_kernel: float [P, V].
    bias: float [V].
  """

  encoder_kernel: Any
  prediction_kernel: Any
  bias: Any


def simple_losses(
  given: targets.Targets,
  encoder: tf.Tensor,
  prediction: tf.Tensor,
  weights: SimpleWeights,
  blank_index: int,
  slice_frames: signatures.Size,
  *,
  lm_only_scale: float = 0.0,
  am_only_scale: float = 0.0,
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
  """Losses of the additive joint network, and occupancies of its lattice.

  Args:
    given: labels and lengths.
    encoder: float32 [B, T, D], finite outside of the lengths.
    prediction: float32 [B, U + 1, P], the same.
    weights: `SimpleWeights` of float32 tensors.
    blank_index: int.
    slice_frames: int, frames whose [B, frames, V] are held at a time.
    lm_only_scale: float, see the module.
    am_only_scale: float, see the module.

  Returns:
    float32 [B], nats, with gradients with respect to encoder, prediction and
    weights; and two float32 [B, T, U + 1], of the blanks and of the labels,
    without.
  """
  blank, label = log_probabilities(
    given,
    encoder,
    prediction,
    weights,
    blank_index,
    slice_frames,
    lm_only_scale=lm_only_scale,
    am_only_scale=am_only_scale,
  )
  loss, log_odds = transducer_arcs.losses(
    given, tf.stop_gradient(blank), tf.stop_gradient(label)
  )
  arcs = transducer_arcs.occupancies(given, log_odds, targets.sizes(encoder)[1])

  @targets.custom_gradient
  def losses(*watched):
    def gradient(upstream):
      changes = transducer_arcs.weigh(arcs, loss, -upstream)
      return [targets.once(change, *watched) for change in changes]

    return tf.identity(loss), gradient

  return losses(blank, label), arcs


def log_probabilities(
  given: targets.Targets,
  encoder: tf.Tensor,
  prediction: tf.Tensor,
  weights: SimpleWeights,
  blank_index: int,
  slice_frames: signatures.Size,
  *,
  lm_only_scale: float = 0.0,
  am_only_scale: float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor]:
  """What the lattice needs, of the mixture that the module describes.

  Args:
    given: as for `simple_losses`, and so are the others.
    encoder: float32 [B, T, D].
    prediction: float32 [B, U + 1, P].
    weights: `SimpleWeights` of float32 tensors.
    blank_index: int.
    slice_frames: int.
    lm_only_scale: float.
    am_only_scale: float.

  Returns:
    Two float32 [B, T, U + 1], of the blank and of the next label.
  """
  frames, vocab = targets.sizes(encoder)[1], targets.sizes(weights.bias)[0]
  columns = targets.sizes(prediction)[1]
  rows = tf.tensordot(prediction, weights.prediction_kernel, 1) + weights.bias
  # A frame of zeros leaves prediction alone; the mean is one column more.
  mean = _log_mean(rows, given.label_length) if am_only_scale else None
  normalizer = _normalizer(
    tf.pad(encoder, [[0, 0], [0, 1], [0, 0]]),  # pyright: ignore[reportArgumentType]
    weights.encoder_kernel,
    rows if mean is None else tf.concat([rows, mean], axis=1),
    slice_frames,
  )

  def arc(classes):
    # Columns of the kernels are enough: rows of what is asked for.
    kernels = (
      tf.gather(tf.transpose(kernel), classes) for kernel in weights[:2]
    )
    by_encoder, by_prediction = kernels
    of_frame = tf.matmul(encoder, by_encoder, transpose_b=True)
    of_column = tf.reduce_sum(prediction * by_prediction, axis=-1)
    of_column = (of_column + tf.gather(weights.bias, classes))[:, None]
    value = (1.0 - lm_only_scale - am_only_scale) * (
      of_frame + of_column - normalizer[:, :frames, :columns]
    )
    if lm_only_scale:
      value += lm_only_scale * (of_column - normalizer[:, frames:, :columns])
    if mean is not None:
      of_mean = tf.gather(mean[:, 0], classes, batch_dims=1)[:, None]
      value += am_only_scale * (
        of_frame + of_mean - normalizer[:, :frames, columns:]
      )
    return value

  tokens = tf.clip_by_value(given.tokens, 0, vocab - 1)
  return arc(tf.fill(tf.shape(tokens[:, :1]), blank_index)), arc(tokens)


def _log_mean(rows, label_length):
  """[B, U + 1, V] to [B, 1, V]: of the probabilities of the valid columns."""
  valid = tf.sequence_mask(label_length + 1, targets.sizes(rows)[1])
  probs = tf.where(valid[:, :, None], tf.nn.softmax(rows), 0.0)
  count = tf.cast(label_length + 1, tf.float32)[:, None, None]
  return tf.math.log(
    tf.reduce_sum(probs, axis=1, keepdims=True) / count + _TINY
  )


def _normalizer(encoder, kernel, rows, slice_frames):
  """log sum_v exp(encoder kernel + rows): [B, T, R] of [B, T, D], [B, R, V]."""

  @targets.custom_gradient
  def normalizer(*watched):
    # Or the caller's tape would record, and hold, what is computed here.
    encoder, kernel, rows = (tf.stop_gradient(x) for x in watched)

    def gradient(upstream):
      # The caller's tape has no use for how it is computed: `once` refuses.
      upstream = tf.stop_gradient(upstream)
      changes = _normalizer_gradient(
        encoder, kernel, rows, upstream, slice_frames
      )
      return [targets.once(change, *watched) for change in changes]

    return _normalizer_value(encoder, kernel, rows, slice_frames), gradient

  return normalizer(encoder, kernel, rows)


@compiling.compiled
def _normalizer_value(encoder, kernel, rows, slice_frames):
  row_scale, row_exps = _exponentials(rows)

  def of_slice(part):
    scale, exps = _exponentials(tf.tensordot(part, kernel, 1))
    total = tf.matmul(exps, row_exps, transpose_b=True) + _TINY
    return tf.math.log(total) + scale + tf.transpose(row_scale, [0, 2, 1])

  slices = tf.map_fn(
    of_slice,
    frame_slices.cut(encoder, slice_frames),
    parallel_iterations=1,
  )
  return frame_slices.join(slices, targets.sizes(encoder)[1])


@compiling.compiled
def _normalizer_gradient(encoder, kernel, rows, upstream, slice_frames):
  _, row_exps = _exponentials(rows)

  def of_slice(part, upstream):
    _, exps = _exponentials(tf.tensordot(part, kernel, 1))
    total = tf.matmul(exps, row_exps, transpose_b=True) + _TINY
    weight = upstream / total
    change = exps * tf.matmul(weight, row_exps)
    return (
      tf.tensordot(change, kernel, [[2], [1]]),
      tf.tensordot(part, change, [[0, 1], [0, 1]]),
      tf.matmul(weight, exps, transpose_a=True),
    )

  encoder_change, kernel_sum, rows_sum = frame_slices.accumulate(
    of_slice, (encoder, upstream), slice_frames, (kernel, rows)
  )
  return encoder_change, kernel_sum, rows_sum * row_exps


def _exponentials(logits):
  """The largest of the classes, and exponentials relative to it."""
  scale = tf.reduce_max(logits, axis=-1, keepdims=True)
  return scale, tf.exp(logits - scale)

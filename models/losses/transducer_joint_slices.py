"""The joint network's passes, whose logits are made in slices of the frames.

A slice is few enough logits to stay in a processor's cache. What the lattice
needs of them comes out, its occupancies go in, and all logits are never held:
the gradient makes them once more. With windows only those of the windows'
columns are made.
"""

import tensorflow as tf

from models import signatures
from models.losses import (
  compiling,
  frame_slices,
  targets,
  transducer_slices,
  transducer_windows,
)


@compiling.compiled
def joint_scores(
  encoder: tf.Tensor,
  prediction: tf.Tensor,
  kernel: tf.Tensor,
  bias: tf.Tensor,
  tokens: tf.Tensor,
  blank_index: int,
  slice_frames: signatures.Size,
  windows: transducer_windows.Windows | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Of the logits tanh(encoder + prediction) kernel + bias.

  Args:
    encoder: float32 [B, T, H], projected.
    prediction: float32 [B, U + 1, H], projected.
    kernel: float32 [H, V].
    bias: float32 [V].
    tokens: int32 [B, U + 1], the next label at every column.
    blank_index: int.
    slice_frames: int, frames of a slice.
    windows: the columns of every frame, or None for all.

  Returns:
    As for `transducer_slices.scores`, of U + 1 columns or of the windows'.
  """
  frames = targets.sizes(encoder)[1]

  def of_slice(parts):
    part, *starts = parts
    rows, next_tokens = _columns(_part(windows, starts), prediction, tokens)
    logits = tf.tensordot(_hidden(part, rows), kernel, 1)
    return transducer_slices.scores(logits, next_tokens, blank_index, bias)

  normalizer, blank, label = tf.map_fn(
    of_slice,
    [frame_slices.cut(x, slice_frames) for x in (encoder, *_starts(windows))],
    parallel_iterations=1,
    fn_output_signature=(tf.float32,) * 3,
  )
  normalizer, blank, label = (
    frame_slices.join(x, frames) for x in (normalizer, blank, label)
  )
  return normalizer, blank, label


@compiling.compiled
def joint_gradient(
  encoder: tf.Tensor,
  prediction: tf.Tensor,
  kernel: tf.Tensor,
  bias: tf.Tensor,
  tokens: tf.Tensor,
  normalizer: tf.Tensor,
  blank: tf.Tensor,
  label: tf.Tensor,
  blank_index: int,
  slice_frames: signatures.Size,
  windows: transducer_windows.Windows | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
  """The loss's gradient with respect to the first four arguments.

  The logits of a slice are computed again, and so is their gradient, which is
  gone before that of the next slice is made.

  Args:
    encoder: float32 [B, T, H], and the next three as for `joint_scores`.
    prediction: float32 [B, U + 1, H].
    kernel: float32 [H, V].
    bias: float32 [V].
    tokens: int32 [B, U + 1], and the next four as for
      `transducer_slices.gradient`, of U + 1 columns or of the windows'.
    normalizer: float32 [B, T, U + 1].
    blank: float32 [B, T, U + 1].
    label: float32 [B, T, U + 1].
    blank_index: int.
    slice_frames: int, frames of a slice.
    windows: as for `joint_scores`.

  Returns:
    Four tensors, like encoder, prediction, kernel and bias.
  """
  width = targets.sizes(encoder)[2]
  columns, vocab = targets.sizes(prediction)[1], targets.sizes(kernel)[1]

  def of_slice(part, normalizer, blank, label, *starts):
    kept = _part(windows, starts)
    rows, next_tokens = _columns(kept, prediction, tokens)
    hidden = _hidden(part, rows)
    logits = tf.tensordot(hidden, kernel, 1)
    change = transducer_slices.gradient(
      logits, next_tokens, normalizer, blank, label, blank_index, bias
    )
    change = tf.reshape(change, [-1, vocab])
    of_kernel = tf.matmul(
      tf.reshape(hidden, [-1, width]), change, transpose_a=True
    )
    of_bias = tf.matmul(tf.ones_like(change[:, :1]), change, transpose_a=True)
    change = tf.matmul(change, kernel, transpose_b=True)
    change = tf.reshape(change, tf.shape(hidden)) * (1.0 - tf.square(hidden))
    of_prediction = (
      transducer_windows.put_back(change, kept, columns)
      if kept
      else tf.reduce_sum(change, axis=1)
    )
    return tf.reduce_sum(change, axis=2), of_prediction, of_kernel, of_bias[0]

  by_encoder, by_prediction, by_kernel, by_bias = frame_slices.accumulate(
    of_slice,
    (encoder, normalizer, blank, label, *_starts(windows)),
    slice_frames,
    (prediction, kernel, bias),
  )
  return by_encoder, by_prediction, by_kernel, by_bias


def _starts(windows):
  return (windows.starts,) if windows else ()


def _part(windows, starts):
  """The windows of a slice, given what was cut of `_starts`."""
  return windows._replace(starts=starts[0]) if windows else None


def _columns(windows, prediction, tokens):
  """Rows [B, 1, U + 1, H] and tokens [B, 1, U + 1], or each frame's own."""
  if not windows:
    return prediction[:, None], tokens[:, None]
  return (
    transducer_windows.take(prediction, windows),
    transducer_windows.take(tokens, windows),
  )


def _hidden(encoder, rows):
  """[B, T, H] and [B, 1 or T, columns, H] to [B, T, columns, H]."""
  return tf.tanh(encoder[:, :, None] + rows)

"""The passes over all logits of a transducer, given or made in slices.

Only the log probabilities of the blank and of the next label enter the lattice,
and only the occupancies of their arcs come back: the four functions here are
all that sees the vocabulary's axis.

`scores` and `gradient` are compiled by XLA wherever they are called from: it
fuses each into one pass that writes nothing as large as the logits but their
gradient, where TensorFlow would hold an array for every operation.
`joint_scores` and `joint_gradient` make the logits of some frames at a time,
few enough to stay in a processor's cache.
"""

import tensorflow as tf

from models import signatures
from models.losses import targets

# Logits of a slice, unless the caller says how many frames: 4 MiB of float32.
_SLICE_ELEMENTS = 2**20


def default_frames(
  batch: signatures.Size,
  frames: signatures.Size,
  columns: signatures.Size,
  vocab: signatures.Size,
) -> signatures.Size:
  """Frames of a slice of about a million logits, between 1 and all of them.

  Args:
    batch: int or scalar int32 tensor, B; the other sizes alike.
    frames: T.
    columns: U + 1.
    vocab: V.

  Returns:
    int, or a scalar int32 tensor where a size is known only when it runs.
  """
  sizes = (batch, frames, columns, vocab)
  if not any(tf.is_tensor(size) for size in sizes):
    wanted = _SLICE_ELEMENTS // max(1, batch * columns * vocab)
    return max(1, min(wanted, frames))
  wanted = _SLICE_ELEMENTS // tf.maximum(1, batch * columns * vocab)
  return tf.maximum(1, tf.minimum(wanted, frames))


@tf.function(autograph=False, jit_compile=True)
def scores(
  logits: tf.Tensor,
  tokens: tf.Tensor,
  blank_index: int,
  bias: tf.Tensor | float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """What the lattice needs of the logits.

  Args:
    logits: float [B, T, U + 1, V].
    tokens: int32 [B, U + 1], the next label at every column.
    blank_index: int.
    bias: float32 [V], added to the logits.

  Returns:
    Three float32 [B, T, U + 1]: log of the sum of exp(logits), and the log
    probabilities of the blank and of the next label.
  """
  logits = tf.cast(logits, tf.float32) + bias
  normalizer = tf.reduce_logsumexp(logits, axis=-1)
  # Elementwise instead of a gather: a TPU gathers one number at a time. Not a
  # product with a one-hot vector either, since logits may be -inf.
  chosen = tf.equal(
    tf.range(targets.sizes(logits)[-1]), tokens[:, None, :, None]
  )
  label = tf.reduce_sum(tf.where(chosen, logits, 0.0), axis=-1)
  return (
    normalizer,
    logits[:, :, :, blank_index] - normalizer,
    label - normalizer,
  )


@tf.function(autograph=False, jit_compile=True)
def gradient(
  logits: tf.Tensor,
  tokens: tf.Tensor,
  normalizer: tf.Tensor,
  blank: tf.Tensor,
  label: tf.Tensor,
  blank_index: int,
  bias: tf.Tensor | float = 0.0,
) -> tf.Tensor:
  """The loss's gradient with respect to the logits.

  Args:
    logits: float [B, T, U + 1, V].
    tokens: int32 [B, U + 1], the next label at every column.
    normalizer: float32 [B, T, U + 1], first result of `scores`.
    blank: float32 [B, T, U + 1], occupancy of the blank's arcs, times the
      gradient of the utterance's loss.
    label: float32 [B, T, U + 1], the same of the next label.
    blank_index: int.
    bias: float32 [V], added to the logits.

  Returns:
    A tensor like logits, exactly 0 where both occupancies are 0.
  """
  vocab = targets.sizes(logits)[-1]
  node = (blank + label)[:, :, :, None]
  normalized = tf.cast(logits, tf.float32) + bias - normalizer[:, :, :, None]
  change = tf.exp(normalized) * node
  change -= tf.one_hot(tokens[:, None], vocab) * label[:, :, :, None]
  change -= tf.one_hot(blank_index, vocab) * blank[:, :, :, None]
  # Logits outside of an utterance may be NaN.
  change = tf.where(tf.equal(node, 0.0), 0.0, change)
  return tf.cast(change, logits.dtype)


@tf.function(autograph=False, jit_compile=True)
def joint_scores(
  encoder: tf.Tensor,
  prediction: tf.Tensor,
  kernel: tf.Tensor,
  bias: tf.Tensor,
  tokens: tf.Tensor,
  blank_index: int,
  slice_frames: signatures.Size,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """`scores` of the logits tanh(encoder + prediction) kernel + bias.

  Args:
    encoder: float32 [B, T, H], projected.
    prediction: float32 [B, U + 1, H], projected.
    kernel: float32 [H, V].
    bias: float32 [V].
    tokens: int32 [B, U + 1], the next label at every column.
    blank_index: int.
    slice_frames: int, frames of a slice.

  Returns:
    As for `scores`.
  """
  frames = targets.sizes(encoder)[1]

  def of_slice(part):
    logits = tf.tensordot(_hidden(part, prediction), kernel, 1)
    return scores(logits, tokens, blank_index, bias)

  normalizer, blank, label = tf.map_fn(
    of_slice,
    _cut(encoder, slice_frames),
    parallel_iterations=1,
    fn_output_signature=(tf.float32,) * 3,
  )
  return _join(normalizer, frames), _join(blank, frames), _join(label, frames)


@tf.function(autograph=False, jit_compile=True)
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
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
  """The loss's gradient with respect to the first four arguments.

  The logits of a slice are computed again, and so is their gradient, which is
  gone before that of the next slice is made.

  Args:
    encoder: float32 [B, T, H], and the next three as for `joint_scores`.
    prediction: float32 [B, U + 1, H].
    kernel: float32 [H, V].
    bias: float32 [V].
    tokens: int32 [B, U + 1], and all others as for `gradient`.
    normalizer: float32 [B, T, U + 1].
    blank: float32 [B, T, U + 1].
    label: float32 [B, T, U + 1].
    blank_index: int.
    slice_frames: int, frames of a slice.

  Returns:
    Four tensors, like encoder, prediction, kernel and bias.
  """
  batch, frames, width = targets.sizes(encoder)
  vocab = targets.sizes(kernel)[1]
  slices = [_cut(x, slice_frames) for x in (encoder, normalizer, blank, label)]
  count = targets.sizes(slices[0])[0]

  def body(index, parts, prediction_sum, kernel_sum, bias_sum):
    part, normalizer, blank, label = (x[index] for x in slices)
    hidden = _hidden(part, prediction)
    logits = tf.tensordot(hidden, kernel, 1)
    change = gradient(
      logits, tokens, normalizer, blank, label, blank_index, bias
    )
    change = tf.reshape(change, [-1, vocab])
    kernel_sum += tf.matmul(
      tf.reshape(hidden, [-1, width]), change, transpose_a=True
    )
    bias_sum += tf.matmul(
      tf.ones_like(change[:, :1]), change, transpose_a=True
    )[0]
    change = tf.matmul(change, kernel, transpose_b=True)
    of_part, of_prediction = _hidden_gradient(hidden, change)
    parts = parts.write(index, of_part)
    prediction_sum += of_prediction
    return index + 1, parts, prediction_sum, kernel_sum, bias_sum

  def more(index, *_):
    return index < count

  _, parts, *sums = tf.while_loop(
    more,
    body,
    (
      0,
      tf.TensorArray(
        tf.float32,
        count,
        element_shape=[batch, slice_frames, width]
        if not tf.is_tensor(batch) and not tf.is_tensor(slice_frames)
        else None,
      ),
      tf.zeros_like(prediction),
      tf.zeros_like(kernel),
      tf.zeros_like(bias),
    ),
    parallel_iterations=1,
    maximum_iterations=count,
  )
  return _join(parts.stack(), frames), *sums


def _hidden(encoder, prediction):
  """[B, T, H] and [B, U + 1, H] to [B, T, U + 1, H]."""
  return tf.tanh(encoder[:, :, None] + prediction[:, None])


def _hidden_gradient(hidden, change):
  """The gradients of `_hidden`'s arguments, given that of its result."""
  change = tf.reshape(change, tf.shape(hidden)) * (1.0 - tf.square(hidden))
  return tf.reduce_sum(change, axis=2), tf.reduce_sum(change, axis=1)


def _cut(x, slice_frames):
  """[B, T, ...] to [slices, B, slice_frames, ...], the last filled with 0."""
  batch, frames, *rest = targets.sizes(x)
  count = -(-frames // slice_frames)
  count = tf.maximum(1, count) if tf.is_tensor(count) else max(1, count)
  padding = [[0, 0], [0, count * slice_frames - frames], *[[0, 0]] * len(rest)]
  x = tf.reshape(tf.pad(x, padding), [batch, count, slice_frames, *rest])
  return tf.transpose(x, [1, 0, *range(2, len(rest) + 3)])


def _join(x, frames):
  """The inverse of `_cut`."""
  count, batch, slice_frames, *rest = targets.sizes(x)
  x = tf.transpose(x, [1, 0, *range(2, len(rest) + 3)])
  return tf.reshape(x, [batch, count * slice_frames, *rest])[:, :frames]

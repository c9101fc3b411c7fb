"""The passes over the logits of a transducer, all of them or a slice's.

Only the log probabilities of the blank and of the next label enter the lattice,
and only the occupancies of their arcs come back: the functions here, and those
of `transducer_joint_slices`, are all that sees the vocabulary's axis.

`scores` and `gradient` are compiled by XLA wherever they are called from: it
fuses each into one pass that writes nothing as large as the logits but their
gradient, where TensorFlow would hold an array for every operation.
"""

import tensorflow as tf

from models import signatures
from models.losses import compiling, targets

# Logits of a slice, unless the caller says how many frames: 4 MiB of float32.
_SLICE_ELEMENTS = 2**20


def slice_frames(
  asked: int | None,
  batch: signatures.Size,
  frames: signatures.Size,
  columns: signatures.Size,
  vocab: signatures.Size,
) -> signatures.Size:
  """Frames of a slice, between 1 and all of them.

  Args:
    asked: int, or None for as many as make about a million numbers.
    batch: int or scalar int32 tensor, B; the other sizes alike.
    frames: T.
    columns: of each frame.
    vocab: V.

  Returns:
    int, or a scalar int32 tensor where a size is known only when it runs.

  Raises:
    ValueError: If less than one is asked for.
  """
  if asked is not None and asked < 1:
    raise ValueError(
      "slice_frames must be at least 1, or None. "
      f"Received: slice_frames={asked}"
    )
  sizes = (batch, frames, columns, vocab)
  if not any(tf.is_tensor(size) for size in sizes):
    fitting = _SLICE_ELEMENTS // max(1, batch * columns * vocab)
    return max(1, min(asked or fitting, frames))
  wanted = asked or _SLICE_ELEMENTS // tf.maximum(1, batch * columns * vocab)
  return tf.maximum(1, tf.minimum(wanted, frames))


@compiling.compiled
def scores(
  logits: tf.Tensor,
  tokens: tf.Tensor,
  blank_index: int,
  bias: tf.Tensor | float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """What the lattice needs of the logits.

  Args:
    logits: float [B, T, U + 1, V].
    tokens: int32 [B, 1, U + 1], the next label at every column, or
      [B, T, U + 1] where the columns of frames differ.
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
  chosen = tf.equal(tf.range(targets.sizes(logits)[-1]), tokens[:, :, :, None])
  label = tf.reduce_sum(tf.where(chosen, logits, 0.0), axis=-1)
  return (
    normalizer,
    logits[:, :, :, blank_index] - normalizer,
    label - normalizer,
  )


@compiling.compiled
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
    tokens: int32 [B, 1, U + 1], the next label at every column, or
      [B, T, U + 1] where the columns of frames differ.
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
  change -= tf.one_hot(tokens, vocab) * label[:, :, :, None]
  change -= tf.one_hot(blank_index, vocab) * blank[:, :, :, None]
  # Logits outside of an utterance may be NaN.
  change = tf.where(tf.equal(node, 0.0), 0.0, change)
  return tf.cast(change, logits.dtype)

"""Slices of an utterance's frames, which are worked on one after another."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from models import signatures
from models.losses import targets


def cut(x: tf.Tensor, slice_frames: signatures.Size) -> tf.Tensor:
  """Slices of the frames, the last one filled with 0.

  Args:
    x: [B, T, ...].
    slice_frames: int, frames of a slice.

  Returns:
    [slices, B, slice_frames, ...].
  """
  batch, frames, *rest = targets.sizes(x)
  count = -(-frames // slice_frames)
  count = tf.maximum(1, count) if tf.is_tensor(count) else max(1, count)
  padding = [[0, 0], [0, count * slice_frames - frames], *[[0, 0]] * len(rest)]
  x = tf.reshape(tf.pad(x, padding), [batch, count, slice_frames, *rest])
  return tf.transpose(x, [1, 0, *range(2, len(rest) + 3)])


def join(x: tf.Tensor, frames: signatures.Size) -> tf.Tensor:
  """The inverse of `cut`.

  Args:
    x: [slices, B, slice_frames, ...].
    frames: int, T.

  Returns:
    [B, T, ...].
  """
  count, batch, slice_frames, *rest = targets.sizes(x)
  x = tf.transpose(x, [1, 0, *range(2, len(rest) + 3)])
  return tf.reshape(x, [batch, count * slice_frames, *rest])[:, :frames]


def accumulate(
  of_slice: Callable[..., Sequence[tf.Tensor]],
  given: Sequence[tf.Tensor],
  slice_frames: signatures.Size,
  like: Sequence[tf.Tensor],
) -> tuple[tf.Tensor, ...]:
  """A tensor of all frames, and sums over the slices.

  Args:
    of_slice: function of a slice of each of `given`, to a float32 tensor like
      the first of these slices, and as many terms as there are sums.
    given: tensors [B, T, ...], the first one [B, T, D].
    slice_frames: int, frames of a slice.
    like: tensors whose shapes and types the sums have.

  Returns:
    float32 [B, T, D], and the sums.

  Example:
    >>> x = tf.reshape(tf.range(6.0), [1, 3, 2])
    >>> def of_slice(part):
    ...   return 2 * part, tf.reduce_sum(part)
    >>> twice, total = accumulate(of_slice, [x], 2, [tf.constant(0.0)])
    >>> twice.shape.as_list(), float(total)
    ([1, 3, 2], 15.0)
  """
  batch, frames, width = targets.sizes(given[0])
  slices = [cut(x, slice_frames) for x in given]
  count = targets.sizes(slices[0])[0]

  def body(index, parts, *sums):
    part, *terms = of_slice(*(x[index] for x in slices))
    sums = (total + term for total, term in zip(sums, terms, strict=True))
    return index + 1, parts.write(index, part), *sums

  known = not tf.is_tensor(batch) and not tf.is_tensor(slice_frames)
  parts = tf.TensorArray(
    tf.float32,
    count,
    element_shape=[batch, slice_frames, width] if known else None,
  )
  _, parts, *sums = tf.while_loop(
    lambda index, *_: index < count,
    body,
    (0, parts, *(tf.zeros_like(x) for x in like)),
    parallel_iterations=1,
    maximum_iterations=count,
  )
  return join(parts.stack(), frames), *sums

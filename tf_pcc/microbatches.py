"""Gradients of the micro-batches of one core's batch, in a loop.

Micro-batch clipping (Wang, ICLR 2025, arXiv 2408.16204) cuts each core's batch
in k parts and clips each on its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_pcc import clipping
from tf_pcc.units import StackedMicrobatches, SummedMicrobatches


def split(data: Any, count: int) -> Any:
  """Cuts every tensor of a batch in `count` equal parts along its first axis.

  Args:
    data: nested structure of tensors [b, ...] and None.
    count: int, the number of micro-batches.

  Returns:
    The same structure of tensors [count, b / count, ...].

  Raises:
    ValueError: If `count` does not divide the batch.
    tf.errors.InvalidArgumentError: If so in the step, when the size of the
      batch is not static.
  """

  def cut(tensor):
    if tensor is None:
      return None
    size = tensor.shape[0]
    if size is None:
      rows = tf.shape(tensor)[0]
      check = tf.debugging.assert_equal(
        tf.math.floormod(rows, count),
        0,
        message="microbatches must divide the per-core batch. "
        f"Received: microbatches={count}",
      )
      with tf.control_dependencies([check]):
        tensor = tf.identity(tensor)
    elif size % count:
      raise ValueError(
        "microbatches must divide the per-core batch. "
        f"Received: microbatches={count}, per-core batch={size}"
      )
    part = -1 if size is None else size // count
    return tf.reshape(tensor, [count, part, *tensor.shape[1:]])

  return keras.tree.map_structure(cut, data)


def join(outputs: Any) -> Any:
  """The inverse of `split`, for what the model gave for each micro-batch.

  Args:
    outputs: nested tensors [microbatches, rows, ...].

  Returns:
    The same of [microbatches * rows, ...].
  """

  def merge(tensor):
    return tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], 0))

  return keras.tree.map_structure(merge, outputs)


def units(
  gradients_of: Callable[[Any], tuple],
  parts: Any,
  variables: Sequence[keras.Variable],
  scale: float,
  bound: float | None,
  with_unclipped: bool,
  spec: Any,
  normalize: bool = False,
) -> tuple[StackedMicrobatches | SummedMicrobatches, tf.Tensor, Any]:
  """Runs the micro-batches one after the other.

  Args:
    gradients_of: function of one micro-batch that returns (loss, gradients,
      outputs): a float32 scalar, a list like `variables`, and any structure of
      tensors.
    parts: what `split` returned.
    variables: list of `keras.Variable`.
    scale: float, mean gradient over the gradients returned.
    bound: float to clip with at once, or None to keep all gradients.
    with_unclipped: whether the sum without clipping is wanted too.
    spec: structure of `tf.TensorSpec` like the outputs, without the loop's
      axis.
    normalize: bool, whether what is clipped at once is divided by the bound.

  Returns:
    The units; the mean of the finite losses, float32 scalar, NaN if there is
    none; the stacked outputs.
  """
  count = next(t for t in keras.tree.flatten(parts) if t is not None).shape[0]
  keep = bound is None
  connected = [True] * len(variables)

  def take(index):
    return keras.tree.map_structure(
      lambda t: None if t is None else t[index], parts
    )

  def array(dtype, shape):
    return tf.TensorArray(
      dtype, size=count, element_shape=shape, clear_after_read=False
    )

  def zeros():
    return [tf.zeros(v.shape, v.dtype) for v in variables]

  def body(index, norms, losses, outputs, stacked, clipped, unclipped):
    loss, gradients, output = gradients_of(take(index))
    for i, gradient in enumerate(gradients):
      connected[i] = gradient is not None
    norm = clipping.global_norm(gradients) * scale
    dense = [
      tf.zeros(v.shape, v.dtype) if g is None else g
      for g, v in zip(clipping.densify(gradients), variables)
    ]
    if bound is None:
      stacked = [a.write(index, g) for a, g in zip(stacked, dense)]
    else:
      factor = clipping.clip_factor(norm, bound, normalize)
      clipped = _add(clipped, dense, factor)
      if with_unclipped:
        live = tf.cast(clipping.is_live(norm), tf.float32)
        unclipped = _add(unclipped, dense, live)
    outputs = [
      a.write(index, o) for a, o in zip(outputs, keras.tree.flatten(output))
    ]
    return (
      index + 1,
      norms.write(index, norm),
      losses.write(index, tf.cast(loss, tf.float32)),
      outputs,
      stacked,
      clipped,
      unclipped,
    )

  _, norms, losses, outputs, stacked, clipped, unclipped = tf.while_loop(
    lambda index, *_: index < count,
    body,
    (
      tf.constant(0),
      array(tf.float32, ()),
      array(tf.float32, ()),
      [array(s.dtype, s.shape) for s in keras.tree.flatten(spec)],
      [array(v.dtype, v.shape) for v in variables] if keep else [],
      [] if keep else zeros(),
      zeros() if with_unclipped and not keep else [],
    ),
    maximum_iterations=count,
    parallel_iterations=1,
  )

  def drop_unconnected(tensors):
    return [t if c else None for t, c in zip(tensors, connected)]

  norms = tf.ensure_shape(norms.stack(), [count])
  if keep:
    result = StackedMicrobatches(
      drop_unconnected([a.stack() for a in stacked]), norms
    )
  else:
    result = SummedMicrobatches(
      drop_unconnected(clipped),
      drop_unconnected(unclipped) if with_unclipped else None,
      norms,
    )
  outputs = keras.tree.pack_sequence_as(spec, [a.stack() for a in outputs])
  losses = losses.stack()
  finite = tf.math.is_finite(losses)
  total = tf.reduce_sum(tf.where(finite, losses, 0.0))
  loss = total / tf.reduce_sum(tf.cast(finite, tf.float32))
  return result, loss, outputs


def _add(totals, gradients, factor):
  return [a + g for a, g in zip(totals, clipping.scale(gradients, factor))]

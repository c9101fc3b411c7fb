"""The lattice of a transducer: likelihood of a label sequence, occupancies.

A node (t, u) has seen t frames and u labels. A blank leads to (t + 1, u), the
next label to (t, u + 1). A path starts at (0, 0) and ends, by a blank, at
(length, label_length). Nodes of equal t + u are one diagonal; a step of the
recursion takes a whole diagonal to the next.

Source: Graves, "Sequence Transduction with Recurrent Neural Networks", 2012,
arXiv 1211.3711, section 2.4; diagonals as in Bagby, Rao and Sim, "Efficient
Implementation of Recurrent Neural Network Transducer in TensorFlow", 2018.
"""

import tensorflow as tf

from models import signatures
from models.losses import compiling, targets
from models.losses.log_zero import LOG_ZERO


@compiling.compiled
def forward(
  blank: tf.Tensor, label: tf.Tensor, length: tf.Tensor, label_length: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Log likelihoods, by the forward recursion.

  Every diagonal is scaled to a maximum of 1, which keeps the precision of
  float32 for lattices of any size; the scales are the likelihood's factors.

  Args:
    blank: float32 [B, T, U + 1], log probability of the blank at every node.
    label: float32 [B, T, U + 1], of the next label; its last column is ignored.
    length: int32 [B], frames, between 0 and T.
    label_length: int32 [B], labels, between 0 and U.

  Returns:
    float32 [B], log P(labels | frames): -inf when no path has a probability,
    as for labels without frames, NaN when an arc of a path is; and the float32
    [T + U + 1, B, U + 1] log odds, at every node but the first, of having come
    by a blank, which `occupancies` takes.
  """
  blank, label = _reachable(blank, label, length, label_length)
  # Asked here, since a maximum is free to drop a NaN, and XLA's does.
  unknown = tf.reduce_any(tf.math.is_nan(blank + label), axis=[1, 2])
  elements = (_to_diagonals(blank), _to_diagonals(label))
  batch, _, columns = targets.sizes(blank)
  start = tf.where(tf.equal(tf.range(columns), 0), 0.0, LOG_ZERO)
  start = tf.broadcast_to(start, [batch, columns])
  zeros = tf.zeros_like(start)

  def step(carry, element):
    diagonal = carry[0]
    by_blank = diagonal + element[0]
    by_label = _shift(diagonal + element[1], 1, LOG_ZERO)
    log_odds = by_blank - by_label
    diagonal = tf.maximum(by_blank, by_label) + tf.math.log1p(
      tf.exp(-tf.abs(log_odds))
    )
    scale = tf.reduce_max(diagonal, axis=1, keepdims=True)
    return diagonal - scale, log_odds, scale

  _, log_odds, scales = tf.scan(step, elements, (start, zeros, zeros[:, :1]))
  # On the diagonal of a path's end only the end is left, and has the scale.
  passed = tf.range(tf.shape(scales)[0])[:, None] < length + label_length
  log_likelihood = tf.reduce_sum(tf.where(passed, scales[..., 0], 0.0), axis=0)
  log_likelihood = tf.where(
    log_likelihood < 0.1 * LOG_ZERO, -float("inf"), log_likelihood
  )
  return tf.where(unknown, float("nan"), log_likelihood), log_odds


@compiling.compiled
def occupancies(
  log_odds: tf.Tensor,
  length: tf.Tensor,
  label_length: tf.Tensor,
  frames: signatures.Size,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Probabilities, given the labels, of taking each arc of the lattice.

  They are the derivatives of the log likelihood with respect to the log
  probabilities given to `forward`. The whole probability of 1 flows back from
  the end of the path and is split at every node as it came together: nothing is
  a difference of large logarithms.

  Args:
    log_odds: second result of `forward`.
    length: int32 [B], as for `forward`.
    label_length: int32 [B], as for `forward`.
    frames: int, T.

  Returns:
    Two float32 [B, T, U + 1], of the blanks and of the labels; 0 outside of an
    utterance's lattice. They mean nothing where the likelihood is 0.
  """
  steps, batch, columns = targets.sizes(log_odds)
  end = tf.equal(tf.range(columns), label_length[:, None])
  last = length + label_length - 1
  nothing = tf.zeros([batch, columns])

  def step(carry, element):
    log_odds, index = element
    ends = tf.logical_and(end, tf.equal(index, last)[:, None])
    node = tf.where(ends, 1.0, carry[0] + carry[1])
    by_blank = node * tf.sigmoid(log_odds)
    by_label = _shift(node * tf.sigmoid(-log_odds), -1, 0.0)
    return by_blank, by_label

  blank, label = tf.scan(
    step, (log_odds, tf.range(steps)), (nothing, nothing), reverse=True
  )
  return _from_diagonals(blank, frames), _from_diagonals(label, frames)


def _reachable(blank, label, length, label_length):
  """Leaves the arcs that are part of a path; what else there is may be NaN."""
  _, frames, columns = targets.sizes(blank)
  t = tf.range(frames)[:, None]
  u = tf.range(columns)
  length = length[:, None, None]
  label_length = label_length[:, None, None]
  # The last frame's blank is the end: all labels must have been emitted.
  may_blank = tf.logical_or(
    t < length - 1,
    tf.logical_and(tf.equal(t, length - 1), tf.equal(u, label_length)),
  )
  may_blank = tf.logical_and(may_blank, u <= label_length)
  may_label = tf.logical_and(t < length, u < label_length)
  return _select(may_blank, blank), _select(may_label, label)


def _select(possible, log_probability):
  log_probability = tf.where(possible, log_probability, LOG_ZERO)
  return tf.where(log_probability < LOG_ZERO, LOG_ZERO, log_probability)


def _to_diagonals(x):
  """[B, T, U + 1] to [T + U + 1, B, U + 1]: node (t, u) at (t + u, u)."""
  batch, frames, columns = targets.sizes(x)
  # One more than has nodes: of no frames and no labels there still is one.
  steps = frames + columns
  x = tf.transpose(x, [0, 2, 1])
  # Rows one too long for the matrix they are read into move by one each.
  x = tf.pad(
    x,
    [[0, 0], [0, 0], [0, columns + 1]],  # pyright: ignore[reportArgumentType]
    constant_values=LOG_ZERO,
  )
  x = tf.reshape(x, [batch, columns * (steps + 1)])
  x = tf.reshape(x[:, : columns * steps], [batch, columns, steps])
  return tf.transpose(x, [2, 0, 1])


def _from_diagonals(x, frames):
  """The inverse of `_to_diagonals`."""
  steps, batch, columns = targets.sizes(x)
  x = tf.reshape(tf.transpose(x, [1, 2, 0]), [batch, columns * steps])
  x = tf.pad(x, [[0, 0], [0, columns]])  # pyright: ignore[reportArgumentType]
  x = tf.reshape(x, [batch, columns, steps + 1])[:, :, :frames]
  return tf.transpose(x, [0, 2, 1])


def _shift(x, by, fill):
  """Moves the columns of [B, U + 1] by one, to the right or to the left."""
  edge = tf.fill(tf.shape(x[:, :1]), tf.constant(fill, x.dtype))
  if by > 0:
    return tf.concat([edge, x[:, :-1]], axis=1)
  return tf.concat([x[:, 1:], edge], axis=1)

"""Windows of a transducer's lattice: the columns that are kept in each frame.

Frame t keeps the columns starts[t] to starts[t] + size - 1 of the U + 1. The
windows begin at column 0, never go back, move by size - 1 columns a frame at
most, so that two of them share a column, and the last one holds column U: there
is a path inside of them whenever U <= frames * (size - 1). An utterance of more
labels has none.

Source: Kuang et al., "Pruned RNN-T for fast, memory-efficient ASR training",
Interspeech 2022, arXiv 2206.13236, section 3.
"""

from typing import NamedTuple

import tensorflow as tf

from models import signatures
from models.losses import compiling, targets


class Windows(NamedTuple):
  """Which columns are kept.

  Attributes:
    starts: int32 [B, T], the first column of every frame.
    size: int, columns of a window; those beyond U are no nodes.
  """

  starts: tf.Tensor
  size: int


@compiling.compiled
def choose(
  blank: tf.Tensor,
  label: tf.Tensor,
  length: tf.Tensor,
  label_length: tf.Tensor,
  size: int,
) -> tf.Tensor:
  """Starts of the windows that keep the most probability.

  In every frame by itself the window p is sought that maximises

  blank[p] + ... + blank[p + size - 1] - label[p - 1],

  the probability of leaving the frame from within the window, less that of
  having entered the window within the frame, from below. What results is then
  lowered, and raised, by as little as the rules of this module need.

  Args:
    blank: float32 [B, T, U + 1], occupancy of the blank's arcs of some lattice.
    label: float32 [B, T, U + 1], that of the labels' arcs.
    length: int32 [B], frames, between 0 and T.
    label_length: int32 [B], labels, between 0 and U.
    size: int, at least 2.

  Returns:
    int32 [B, T].
  """
  _, frames, columns = targets.sizes(blank)
  # What is NaN must not choose a column that is none.
  blank, label = (tf.where(tf.math.is_nan(x), 0.0, x) for x in (blank, label))
  padded = tf.pad(blank, [[0, 0], [0, 0], [0, size - 1]])  # pyright: ignore[reportArgumentType]
  kept = tf.add_n([padded[:, :, i : i + columns] for i in range(size)])
  kept -= tf.pad(label[:, :, :-1], [[0, 0], [0, 0], [1, 0]])  # pyright: ignore[reportArgumentType]
  highest = tf.maximum(label_length + 1 - size, 0)
  inside = tf.range(columns) <= highest[:, None, None]
  best = tf.argmax(
    tf.where(inside, kept, -float("inf")), axis=-1, output_type=tf.int32
  )
  # With a frame behind the end, or there might be none.
  t = tf.range(frames + 1)[:, None]
  best = tf.pad(tf.transpose(best), [[0, 1], [0, 0]])  # pyright: ignore[reportArgumentType]
  # The last frame's window, and what is behind the end: up to column U.
  wanted = tf.where(t >= length - 1, highest, best)
  wanted = tf.minimum(wanted, t * (size - 1))

  def step(carry, wanted):
    lowest, start = carry
    lowest = tf.minimum(lowest, wanted)
    return lowest, tf.maximum(lowest, start - (size - 1))

  # From the last frame back: no higher than any later one, and no further below
  # the next than a window moves.
  first = wanted[-1], tf.zeros_like(wanted[-1])
  _, starts = tf.scan(step, wanted, first, reverse=True)
  return tf.transpose(starts[:frames])


def take(rows: tf.Tensor, windows: Windows) -> tf.Tensor:
  """The rows of every frame's columns.

  Args:
    rows: [B, U + 1, ...].
    windows: of T frames.

  Returns:
    [B, T, size, ...]; columns beyond U have the row of U.
  """
  last = targets.sizes(rows)[1] - 1
  return tf.gather(rows, tf.minimum(_columns(windows), last), batch_dims=1)


def put_back(
  changes: tf.Tensor, windows: Windows, columns: signatures.Size
) -> tf.Tensor:
  """The gradient of `take`: sums over the windows that hold a column.

  Args:
    changes: float32 [B, T, size, N]; what is beyond U is left out.
    windows: of T frames.
    columns: int, U + 1.

  Returns:
    float32 [B, U + 1, N].
  """
  batch, frames, size, width = targets.sizes(changes)
  # A product, since sums by index are serial on a TPU.
  chosen = tf.one_hot(_columns(windows), columns)
  return tf.matmul(
    tf.reshape(chosen, [batch, frames * size, columns]),
    tf.reshape(changes, [batch, frames * size, width]),
    transpose_a=True,
  )


@compiling.compiled
def spread(
  inside: tf.Tensor, windows: Windows, columns: signatures.Size, fill: float
) -> tf.Tensor:
  """What is known inside of the windows, at its place in the lattice.

  Args:
    inside: float32 [B, T, size].
    windows: of T frames.
    columns: int, U + 1.
    fill: of the nodes outside.

  Returns:
    float32 [B, T, U + 1].
  """
  place = tf.range(columns) - windows.starts[:, :, None]
  result = tf.fill(tf.shape(place), fill)
  for i in range(windows.size):
    result = tf.where(tf.equal(place, i), inside[:, :, i : i + 1], result)
  return result


@compiling.compiled
def narrow(nodes: tf.Tensor, windows: Windows) -> tf.Tensor:
  """The inverse of `spread`, 0 beyond column U.

  Args:
    nodes: float32 [B, T, U + 1].
    windows: of T frames.

  Returns:
    float32 [B, T, size].
  """
  columns = targets.sizes(nodes)[2]
  place = tf.range(columns) - windows.starts[:, :, None]
  return tf.stack(
    [
      tf.reduce_sum(tf.where(tf.equal(place, i), nodes, 0.0), axis=-1)
      for i in range(windows.size)
    ],
    axis=-1,
  )


def _columns(windows):
  """int32 [B, T, size]."""
  return windows.starts[:, :, None] + tf.range(windows.size)

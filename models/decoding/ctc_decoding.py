"""From CTC logits to token ids: greedy and prefix beam search."""

import numpy as np
import tensorflow as tf

from models import speech_model
from models.losses.log_zero import LOG_ZERO


def greedy(
  logits: tf.Tensor, lengths: tf.Tensor, blank: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
  """The best path, repeats collapsed, blanks dropped.

  Static shapes throughout, so it also compiles for a TPU. An utterance with a
  valid frame that is not finite, as samples of NaN give, has no tokens.

  Args:
    logits: float [B, T, V].
    lengths: int32 [B], valid frames.
    blank: int, the blank's id.

  Returns:
    int32 [B, T] ids, padded with the blank, and int32 [B], how many are valid.

  Example:
    >>> logits = tf.one_hot([[1, 1, 0, 1, 2]], 3)
    >>> ids, lengths = greedy(logits, [5])
    >>> ids.numpy(), lengths.numpy()
    (array([[1, 1, 2, 0, 0]], dtype=int32), array([3], dtype=int32))
  """
  best = tf.argmax(logits, axis=-1, output_type=tf.int32)
  batch, time = tf.unstack(tf.shape(best))
  previous = tf.pad(best[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
  keep = (best != previous) & (best != blank)
  keep &= tf.sequence_mask(speech_model.finite_length(logits, lengths), time)
  # Dropped frames go to one slot behind the end, which is cut off.
  slot = tf.where(keep, tf.cumsum(tf.cast(keep, tf.int32), axis=1) - 1, time)
  row = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(slot))
  ids = tf.scatter_nd(
    tf.stack([row, slot], axis=-1), best - blank, [batch, time + 1]
  )
  count = tf.reduce_sum(tf.cast(keep, tf.int32), axis=1)
  return ids[:, :time] + blank, count


def greedy_scores(logits: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
  """Log-probability of the best path, of which `greedy` makes the tokens.

  Args:
    logits: float [B, T, V]; normalised here.
    lengths: int32 [B], valid frames.

  Returns:
    float32 [B], natural logarithms: 0 without frames, -inf where a valid frame
    is not finite.
  """
  log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
  best = tf.reduce_max(log_probs, axis=-1)
  valid = tf.sequence_mask(lengths, tf.shape(best)[1])
  scores = tf.reduce_sum(tf.where(valid, best, 0.0), axis=1)
  usable = speech_model.finite_length(logits, lengths) == lengths
  return tf.where(usable, scores, -np.inf)


def beam_search(
  logits: tf.Tensor,
  lengths: tf.Tensor,
  beam_width: int = 16,
  n_best: int = 1,
  blank: int = 0,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """The n best label sequences by prefix beam search, with their scores.

  A sequence's score sums over all its paths that stayed in the beam. Runs
  `tf.nn.ctc_beam_search_decoder`, which wants the blank last: classes are moved
  there and back. CPU only, not for XLA.

  An utterance with fewer than `n_best` sequences, as one of no frames or of a
  single one, is filled up with empty sequences of score -inf. One with a valid
  frame that is not finite has the empty sequence alone.

  Args:
    logits: float [B, T, V]; normalised here.
    lengths: int32 [B], valid frames.
    beam_width: int, prefixes kept in every frame.
    n_best: int, at most `beam_width`.
    blank: int, the blank's id.

  Returns:
    int32 [B, n_best, U] ids padded with the blank, int32 [B, n_best] lengths,
    and float32 [B, n_best] log-probabilities, best first.

  Raises:
    ValueError: If not 1 <= n_best <= beam_width.
  """
  if not 1 <= n_best <= beam_width:
    raise ValueError(
      f"n_best must be in 1..beam_width ({beam_width}). "
      f"Received: n_best={n_best}"
    )
  logits = tf.cast(logits, tf.float32)
  batch, time, classes = tf.unstack(tf.shape(logits))
  lengths = speech_model.finite_length(logits, lengths)
  valid = tf.sequence_mask(lengths, time)[..., None]
  logits = tf.where(valid, logits, 0.0)
  logits = tf.concat(
    [
      logits[:, :, :blank],
      logits[:, :, blank + 1 :],
      logits[:, :, blank, None],
    ],
    axis=-1,
  )
  logits = _with_fillers(logits, lengths, n_best)
  paths, scores = tf.nn.ctc_beam_search_decoder(
    tf.transpose(logits, [1, 0, 2]), lengths + 1, beam_width, n_best
  )
  longest = tf.reduce_max([path.dense_shape[1] for path in paths])
  shape = tf.stack([tf.cast(batch, tf.int64), longest])
  found = tf.stack(
    [
      tf.sparse.to_dense(tf.SparseTensor(p.indices, p.values, shape), -1)
      for p in paths
    ],
    axis=1,
  )
  ids = tf.cast(found, tf.int32)
  real = tf.reduce_all(ids < classes - 1, axis=2)
  keep = (ids >= 0) & real[..., None]
  ids = tf.where(keep, ids + tf.cast(ids >= blank, tf.int32), blank)
  counts = tf.reduce_sum(tf.cast(keep, tf.int32), axis=2)
  return ids, counts, tf.where(real, scores, -np.inf)


def _with_fillers(logits, lengths, count):
  """Adds `count` classes that only a frame behind the end can emit.

  There the blank is certain and the new classes are hopeless, yet less so than
  anything else that is impossible: they fill the beam of an utterance with few
  sequences, which `tf.nn.ctc_beam_search_decoder` refuses, and change no other.

  Args:
    logits: float32 [B, T, V], the blank last.
    lengths: int32 [B].
    count: int.

  Returns:
    float32 [B, T + 1, V + count], the blank last and the new before it.
  """
  hopeless = -1e20
  batch, time, classes = tf.unstack(tf.shape(logits))
  fillers = tf.fill([batch, time, count], LOG_ZERO)
  logits = tf.concat([logits[..., :-1], fillers, logits[..., -1:]], axis=-1)
  logits = tf.pad(logits, [[0, 0], [0, 1], [0, 0]])
  behind = tf.concat(
    [tf.fill([classes - 1], LOG_ZERO), tf.fill([count], hopeless), [0.0]], 0
  )
  at_end = tf.range(time + 1)[None, :, None] == lengths[:, None, None]
  return tf.where(at_end, behind, logits)

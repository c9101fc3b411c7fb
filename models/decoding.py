"""From CTC logits to token ids: greedy and prefix beam search."""

import tensorflow as tf


def greedy(logits: tf.Tensor, lengths: tf.Tensor, blank: int = 0):
  """The best path, repeats collapsed, blanks dropped.

  Static shapes throughout, so it also compiles for a TPU.

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
  keep &= tf.sequence_mask(lengths, time)
  # Dropped frames go to one slot behind the end, which is cut off.
  slot = tf.where(keep, tf.cumsum(tf.cast(keep, tf.int32), axis=1) - 1, time)
  row = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(slot))
  ids = tf.scatter_nd(
    tf.stack([row, slot], axis=-1), best - blank, [batch, time + 1]
  )
  count = tf.reduce_sum(tf.cast(keep, tf.int32), axis=1)
  return ids[:, :time] + blank, count


def beam_search(
  logits: tf.Tensor,
  lengths: tf.Tensor,
  beam_width: int = 16,
  n_best: int = 1,
  blank: int = 0,
):
  """The n best label sequences by prefix beam search, with their scores.

  A sequence's score sums over all its paths that stayed in the beam. Runs
  `tf.nn.ctc_beam_search_decoder`, which wants the blank last: classes are moved
  there and back. CPU only, not for XLA.

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
    tf.errors.InvalidArgumentError: If an utterance has fewer than `n_best`
      sequences, as one without frames has for n_best > 1.
  """
  if not 1 <= n_best <= beam_width:
    raise ValueError(
      f"n_best must be in 1..beam_width ({beam_width}). "
      f"Received: n_best={n_best}"
    )
  logits = tf.cast(logits, tf.float32)
  logits = tf.concat(
    [logits[..., :blank], logits[..., blank + 1 :], logits[..., blank, None]],
    axis=-1,
  )
  paths, scores = tf.nn.ctc_beam_search_decoder(
    tf.transpose(logits, [1, 0, 2]), lengths, beam_width, n_best
  )
  batch = tf.shape(logits)[0]
  longest = tf.reduce_max([path.dense_shape[1] for path in paths])
  ids, counts = [], []
  for path in paths:
    tokens = path.values + tf.cast(path.values >= blank, path.values.dtype)
    shape = tf.stack([tf.cast(batch, tf.int64), longest])
    path = tf.SparseTensor(path.indices, tokens, shape)
    ids.append(tf.cast(tf.sparse.to_dense(path, blank), tf.int32))
    counts.append(
      tf.math.unsorted_segment_sum(
        tf.ones_like(path.indices[:, 0], tf.int32), path.indices[:, 0], batch
      )
    )
  return tf.stack(ids, axis=1), tf.stack(counts, axis=1), scores

"""The passes over all logits of CTC, with the lattice between them.

Only the log probabilities of the blank and of an utterance's own labels enter
the lattice, and only the occupancies of these come back. Both functions are
compiled by XLA wherever they are called from: it reads the logits where
TensorFlow would write an array of their size for every operation, and small
batches are spared what TensorFlow takes to start each.
"""

import tensorflow as tf

from models.losses import compiling, ctc_lattice, targets

# Labels [B, U], whether the blank before each may be left out, the lengths in
# frames [B] and in labels [B].
Utterances = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
# What is subtracted from the logits of a frame, one after the other.
Scales = tuple[tf.Tensor, tf.Tensor]


def checked(
  labels: tf.Tensor,
  label_length: tf.Tensor,
  logits: tf.Tensor,
  length: tf.Tensor,
) -> targets.Targets:
  """Labels and lengths, made safe to index with.

  Args:
    labels: int [B, U].
    label_length: int [B].
    logits: float [B, T, V].
    length: int [B], frames.

  Returns:
    The `Targets`, of U + 1 columns.

  Raises:
    ValueError: If shapes do not fit, or, eagerly, labels or lengths are out of
      range.
  """
  batch, frames, vocab = targets.sizes(logits)
  columns = targets.sizes(labels)[1] + 1
  return targets.Targets(
    labels, label_length, length, batch, frames, columns, vocab, blank_index=0
  )


@compiling.compiled
def forward(
  labels: tf.Tensor,
  label_length: tf.Tensor,
  logits: tf.Tensor,
  length: tf.Tensor,
) -> tuple[tf.Tensor, Scales, ctc_lattice.Odds, Utterances]:
  """Losses, and what `gradient` takes.

  Args:
    labels: int [B, U], padded.
    label_length: int [B].
    logits: float [B, T, V] of any precision.
    length: int [B], frames.

  Returns:
    float32 [B], the losses in nats, NaN where labels or lengths are out of
    range or a valid frame is not finite; two float32 [B, T], the largest logits
    and the logs of the sums of exp(logits - largest); the log odds of
    `ctc_lattice.forward`; and the utterances.

  Raises:
    ValueError: If shapes do not fit.
  """
  given = checked(labels, label_length, logits, length)
  frames = targets.sizes(logits)[1]
  inside = tf.sequence_mask(given.label_length, targets.sizes(labels)[1])
  inside &= ~given.wrong[:, None]
  labels = tf.where(inside, given.tokens[:, :-1], 0)
  # Equal neighbours need a blank between them, the first has none.
  may_skip = tf.pad(labels[:, 1:] != labels[:, :-1], [[0, 0], [1, 0]])
  may_skip = may_skip[:, : targets.sizes(labels)[1]]
  lattice = may_skip, given.length, given.label_length
  logits = tf.cast(logits, tf.float32)
  largest = tf.reduce_max(logits, axis=2)
  sums = tf.reduce_sum(tf.exp(logits - largest[:, :, None]), axis=2)
  # NaN and infinity show in the sum, -infinity does not. A maximum need not
  # be NaN where a logit is.
  finite = tf.math.is_finite(sums)
  finite &= tf.math.is_finite(tf.reduce_min(logits, axis=2))
  # Not added to each other: differences lose less to rounding one by one.
  scales = largest, tf.math.log(sums)
  valid = tf.sequence_mask(given.length, frames)
  broken = given.wrong | tf.reduce_any(valid & ~finite, axis=1)
  used = valid & ~broken[:, None]
  blank = tf.where(used, _scaled(logits, scales)[:, :, 0], 0.0)
  label = _scaled(_of_labels(logits, labels), scales)
  label = tf.where(used[:, :, None], label, 0.0)
  log_likelihood, odds = ctc_lattice.forward(blank, label, *lattice)
  loss = tf.where(broken, float("nan"), 0.0 - log_likelihood)
  return loss, scales, odds, (labels, *lattice)


@compiling.compiled
def gradient(
  logits: tf.Tensor,
  loss: tf.Tensor,
  scales: Scales,
  odds: ctc_lattice.Odds,
  utterances: Utterances,
  upstream: tf.Tensor,
) -> tf.Tensor:
  """The losses' gradient with respect to the logits.

  Args:
    logits: float [B, T, V], those that `forward` had.
    loss: float32 [B], what it returned, and so are the next three.
    scales: two float32 [B, T].
    odds: log odds.
    utterances: labels and lengths.
    upstream: float [B], gradient with respect to the losses.

  Returns:
    A tensor like logits, exactly 0 outside of an utterance, where upstream is 0
    and where the loss is infinite; NaN where the loss is NaN.
  """
  labels, *lattice = utterances
  blank, label = ctc_lattice.occupancies(odds, *lattice)
  _, frames, vocab = targets.sizes(logits)
  upstream = tf.cast(upstream, tf.float32)
  taught = ~(tf.equal(upstream, 0.0) | tf.math.is_inf(loss))
  change = tf.exp(_scaled(tf.cast(logits, tf.float32), scales))
  change -= _by_class(blank, label, labels, vocab)
  change *= upstream[:, None, None]
  known = tf.sequence_mask(lattice[1], frames) & taught[:, None]
  change = tf.where(known[:, :, None], change, 0.0)
  unknown = tf.math.is_nan(loss) & taught
  change = tf.where(unknown[:, None, None], float("nan"), change)
  return tf.cast(change, logits.dtype)


def _scaled(logits, scales):
  """Log probabilities of logits [B, T, ...]."""
  largest, log_sums = scales
  return (logits - largest[:, :, None]) - log_sums[:, :, None]


def _of_labels(logits, labels):
  """[B, T, V] and [B, U] to [B, T, U], by whole rows: a TPU gathers those."""
  rows = tf.gather(tf.transpose(logits, [0, 2, 1]), labels, batch_dims=1)
  return tf.transpose(rows, [0, 2, 1])


def _by_class(blank, label, labels, vocab):
  """Occupancies [B, T] and [B, T, U], added up by class: [B, T, V].

  By whole rows too, and not by a product with one-hot vectors, which a TPU
  would round to bfloat16.
  """
  batch, frames, _ = targets.sizes(label)
  rows = tf.concat([blank[:, None], tf.transpose(label, [0, 2, 1])], axis=1)
  classes = tf.pad(labels, [[0, 0], [1, 0]])
  classes += vocab * tf.range(batch)[:, None]
  found = tf.math.unsorted_segment_sum(rows, classes, batch * vocab)
  found = tf.reshape(found, [batch, vocab, frames])
  return tf.transpose(found, [0, 2, 1])

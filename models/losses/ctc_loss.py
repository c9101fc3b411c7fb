"""The CTC loss, in the log domain, with a defined result for every input.

`tf.nn.ctc_loss` is not used. It stands for the impossible with -707 nats, so a
loss above that may come out too small, with the gradient of another problem: of
a network that prefers the blank, over 420 frames and 32 classes, 250 labels
have 1141 nats, and it says 762 and points away from them. To labels or lengths
that are wrong it gives large finite numbers and zeros. What this one gives to
unusual input, in training code and in a compiled graph alike, is as for
`models.losses.transducer_loss`:

| utterance | loss | gradient |
|---|---|---|
| no labels | all its frames are blank | of that |
| no frames, no labels | 0 | 0 |
| more labels than its frames can say, also for having no frames | inf | 0 |
| labels whose probability is 0 in float32 | inf | 0 |
| NaN or infinity in a valid frame | NaN | NaN |
| anything outside of its lengths, NaN too | as without it | exactly 0 there |
| lengths beyond the tensor, labels that are no class or blank | NaN | NaN |
| left out: the gradient of its loss is 0 | as it is | 0, never NaN |

Eagerly what is wrong is a ValueError; a graph on a TPU cannot raise one. An
utterance that does not fit makes its batch's mean inf, but the others teach as
without it: the gradient stays finite. NaN makes the core's gradient NaN, and
clipping leaves that core out of the step.

Source: Graves et al., "Connectionist Temporal Classification", ICML 2006.
"""

import tensorflow as tf

from models.losses import ctc_lattice, targets


def ctc_losses(
  labels: tf.types.experimental.TensorLike,
  label_length: tf.types.experimental.TensorLike,
  logits: tf.types.experimental.TensorLike,
  length: tf.types.experimental.TensorLike,
) -> tf.Tensor:
  """CTC loss of every utterance, the blank being 0.

  Computed in float32. The gradient cannot be differentiated again. XLA compiles
  the lattice for each shape it meets, which takes about a second: batches are
  better padded to few shapes.

  Args:
    labels: int [B, U], padded; no label is the blank.
    label_length: int [B].
    logits: float [B, T, V] of any precision, not normalized.
    length: int [B], valid frames.

  Returns:
    float32 [B], -log P(labels | frames) in nats.

  Raises:
    ValueError: If shapes, labels or lengths do not fit, see the module.

  Example:
    >>> loss = ctc_losses([[3]], [1], tf.zeros([1, 2, 4]), [2])  # 3 of 16.
    >>> print(f"{loss[0]:.4f}")
    1.6740
  """
  logits = targets.shaped("logits", logits, "[B, T, V]")
  batch, frames, vocab = targets.sizes(logits)
  labels = targets.shaped("labels", labels, "[B, U]")
  columns = targets.sizes(labels)[1] + 1
  given = targets.Targets(
    labels, label_length, length, batch, frames, columns, vocab, blank_index=0
  )
  length, count = given.length, given.label_length
  valid = tf.sequence_mask(length, frames)[..., None]
  inside = tf.sequence_mask(count, columns - 1) & ~given.wrong[:, None]
  labels = tf.where(inside, given.tokens[:, :-1], 0)
  # Equal neighbours need a blank between them, the first has none.
  may_skip = tf.pad(labels[:, 1:] != labels[:, :-1], [[0, 0], [1, 0]])
  may_skip = may_skip[:, : columns - 1]

  @targets.custom_gradient
  def losses(watched):
    # Or the caller's tape would record, and hold, what is computed here.
    logits = tf.cast(tf.stop_gradient(watched), tf.float32)
    broken = given.wrong | tf.reduce_any(
      valid & ~tf.math.is_finite(logits), axis=[1, 2]
    )
    logits = tf.where(valid & ~broken[:, None, None], logits, 0.0)
    log_p = tf.nn.log_softmax(logits)
    lattice = may_skip, length, count
    log_likelihood, odds = ctc_lattice.forward(
      log_p[..., 0], _of_labels(log_p, labels), *lattice
    )
    loss = tf.where(broken, float("nan"), 0.0 - log_likelihood)

    def gradient(upstream):
      upstream = tf.cast(upstream, tf.float32)[:, None, None]
      left_out = tf.equal(upstream, 0.0) | tf.math.is_inf(loss)[:, None, None]
      blank, label = ctc_lattice.occupancies(odds, *lattice)
      by_logits = tf.exp(log_p) - _by_class(blank, label, labels, vocab)
      change = tf.where(valid & ~left_out, by_logits * upstream, 0.0)
      unknown = broken[:, None, None] & ~left_out
      change = tf.where(unknown, float("nan"), change)
      return targets.once(tf.cast(change, watched.dtype), watched)

    return loss, gradient

  return losses(logits)


def _of_labels(log_p, labels):
  """[B, T, V] and [B, U] to [B, T, U], by whole rows: a TPU gathers those."""
  rows = tf.gather(tf.transpose(log_p, [0, 2, 1]), labels, batch_dims=1)
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

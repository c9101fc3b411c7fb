"""The CTC loss, with a defined result for every input.

TensorFlow's own loss, `tf.nn.ctc_loss`, gives large finite numbers, zeros and
the gradients of other problems for labels or lengths that are wrong. What this
one gives to unusual input, in training code and in a compiled graph alike, is
as for `models.transducer_loss`:

| utterance | loss | gradient |
|---|---|---|
| no labels | all its frames are blank | of that |
| no frames, no labels | 0 | 0 |
| more labels than its frames can say, also for having no frames | inf | 0 |
| NaN or infinity in a valid frame | NaN | NaN |
| anything outside of its lengths, NaN too | as without it | exactly 0 there |
| lengths beyond the tensor, labels that are no class or blank | NaN | NaN |
| left out: the gradient of its loss is 0 | as it is | 0, never NaN |

Eagerly what is wrong is a ValueError; a graph on a TPU cannot raise one. An
utterance that does not fit makes its batch's mean inf, but the others teach as
without it: the gradient stays finite. NaN makes the core's gradient NaN, and
clipping leaves that core out of the step.

A limit of TensorFlow's: it stands for the impossible with -707 nats, so a loss
far above 700 nats comes out too small, with the gradient of another problem. Of
an untrained network over 400 frames and 1,024 classes the loss of 60 labels
(424 nats) and of 100 (733) is right, that of 150 is 749 instead of 1150: long
transcripts are better cut into wordpieces than into characters.

Source: Graves et al., "Connectionist Temporal Classification", ICML 2006.
"""

import tensorflow as tf

from models import transducer_slices, transducer_targets


def ctc_losses(labels, label_length, logits, length):
  """CTC loss of every utterance, the blank being 0.

  Computed in float32. The gradient cannot be differentiated again.

  Args:
    labels: int [B, U], padded; no label is the blank.
    label_length: int [B].
    logits: float [B, T, V] of any precision, not normalized.
    length: int [B], valid frames.

  Returns:
    float32 [B], -log P(labels | frames) in nats.

  Raises:
    ValueError: shapes, labels or lengths do not fit, see the module.

  Example:
    >>> loss = ctc_losses([[3]], [1], tf.zeros([1, 2, 4]), [2])  # 3 of 16.
    >>> print(f"{loss[0]:.4f}")
    1.6740
  """
  logits = tf.convert_to_tensor(logits)
  if logits.shape.rank != 3:
    raise ValueError(
      "logits must have the shape [B, T, V]. "
      f"Received: logits.shape={logits.shape}"
    )
  batch, frames, vocab = transducer_slices.sizes(logits)
  labels = tf.convert_to_tensor(labels)
  if labels.shape.rank != 2:
    raise ValueError(
      "labels must have the shape [B, U]. "
      f"Received: labels.shape={labels.shape}"
    )
  columns = transducer_slices.sizes(labels)[1] + 1
  targets = transducer_targets.Targets(
    labels, label_length, length, batch, frames, columns, vocab, blank_index=0
  )
  labels, count = targets.tokens[:, :-1], targets.label_length
  valid = tf.sequence_mask(targets.length, frames)[..., None]
  inside = tf.sequence_mask(count, columns - 1)
  # Equal neighbours need a blank between them.
  again = inside[:, 1:] & tf.equal(labels[:, 1:], labels[:, :-1])
  needed = count + tf.reduce_sum(tf.cast(again, tf.int32), axis=1)
  hopeless = needed > targets.length
  silent = tf.equal(targets.length, 0) & ~hopeless

  @tf.custom_gradient
  def losses(watched):
    # Or the caller's tape would record, and hold, what is computed here.
    logits = tf.cast(tf.stop_gradient(watched), tf.float32)
    broken = targets.wrong | tf.reduce_any(
      valid & ~tf.math.is_finite(logits), axis=[1, 2]
    )
    # What TensorFlow is asked has always an answer; some are not used.
    asked = ~(hopeless | broken)
    with tf.GradientTape() as tape:
      logits = tf.where(valid & asked[:, None, None], logits, 0.0)
      tape.watch(logits)
      loss = tf.nn.ctc_loss(
        labels=tf.where(inside & asked[:, None], labels, 0),
        logits=logits,
        label_length=tf.where(asked, count, 0),
        logit_length=tf.maximum(targets.length, tf.minimum(frames, 1)),
        logits_time_major=False,
        blank_index=0,
      )
    by_logits = tape.gradient(loss, logits)
    loss = tf.where(silent, 0.0, loss)
    loss = tf.where(hopeless, float("inf"), loss)
    loss = tf.where(broken, float("nan"), loss)

    def gradient(upstream):
      upstream = tf.cast(upstream, tf.float32)[:, None, None]
      left_out = tf.equal(upstream, 0.0) | tf.math.is_inf(loss)[:, None, None]
      change = tf.where(valid & ~left_out, by_logits * upstream, 0.0)
      unknown = broken[:, None, None] & ~left_out
      change = tf.where(unknown, float("nan"), change)
      return transducer_targets.once(tf.cast(change, watched.dtype), watched)

    return loss, gradient

  return losses(logits)

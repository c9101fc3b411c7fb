"""The CTC loss, in the log domain, with a defined result for every input.

`tf.nn.ctc_loss` is not used, nor `keras.ops.ctc_loss`, which calls it. It
stands for the impossible with -707 nats, so a loss above that may come out too
small, with the gradient of another problem: of a network that prefers the
blank, over 420 frames and 32 classes, 250 labels have 1141 nats, and it says
762 and points away from them. To labels or lengths that are wrong it gives
large finite numbers and zeros. What this one gives to unusual input, in
training code and in a compiled graph alike, is as for
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

from models.losses import ctc_passes, targets


def ctc_losses(
  labels: tf.types.experimental.TensorLike,
  label_length: tf.types.experimental.TensorLike,
  logits: tf.types.experimental.TensorLike,
  length: tf.types.experimental.TensorLike,
) -> tf.Tensor:
  """CTC loss of every utterance, the blank being 0.

  Computed in float32. The gradient cannot be differentiated again. XLA compiles
  it for each shape it meets, which takes about a second: batches are better
  padded to few shapes.

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
  labels = targets.shaped("labels", labels, "[B, U]")
  label_length, length = map(tf.convert_to_tensor, (label_length, length))
  if tf.executing_eagerly():
    # What is compiled cannot raise an error.
    ctc_passes.checked(labels, label_length, logits, length)

  @targets.custom_gradient
  def losses(watched):
    # Or the caller's tape would record, and hold, what is computed here.
    logits = tf.stop_gradient(watched)
    loss, scales, odds, utterances = ctc_passes.forward(
      labels, label_length, logits, length
    )

    def gradient(upstream):
      change = ctc_passes.gradient(
        logits, loss, scales, odds, utterances, upstream
      )
      return targets.once(change, watched)

    return loss, gradient

  return losses(logits)

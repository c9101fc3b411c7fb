"""Which samples a recogniser can use: finite ones of finite power."""

import tensorflow as tf

# Of larger samples float32 does not hold the power; true ones are at most 1.
_LARGEST_SAMPLE = 1e15


def audible_samples(audio: tf.Tensor) -> tf.Tensor:
  """Whether samples are usable: finite, and their power finite too.

  Args:
    audio: float32 [B, S].

  Returns:
    bool [B, S].
  """
  return tf.abs(audio) <= _LARGEST_SAMPLE


def audible(audio: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
  """Whether all samples of an utterance are usable, see `audible_samples`.

  Args:
    audio: float32 [B, S].
    length: int32 [B], valid samples.

  Returns:
    bool [B].
  """
  behind = ~tf.sequence_mask(length, tf.shape(audio)[1])
  return tf.reduce_all(audible_samples(audio) | behind, axis=1)

"""Random seeds that differ from step to step and from replica to replica."""

import keras
import tensorflow as tf

from tf_pcc import replicas

# 2^32 over the golden ratio, as int32: odd, and far from any small multiple, so
# that neighbouring seeds and neighbouring replicas do not meet.
_STRIDE = -1640531527


def next_seed(generator: keras.random.SeedGenerator) -> tf.Tensor:
  """Draws a seed for the stateless random ops, another one on every replica.

  Every replica holds the same generator state, so noise drawn from it directly
  would be the same on all of them. The replica's number is mixed in by plain
  arithmetic, which is cheaper to trace than `stateless_fold_in`. Leave the
  algorithm to the device: Philox on a CPU or GPU; on a TPU, where XLA writes
  Philox's numbers in rows of four that fill the memory 32 times, the chip's
  own. A run repeats itself exactly on its kind of device; a run under XLA draws
  other numbers than one without, because TensorFlow's kernels and XLA's lay out
  the Philox stream differently.

  Args:
    generator: A generator owned by the layer that draws, so that its state is
      saved with the model. It moves on by one.

  Returns:
    int32 [2], the `seed` argument of `tf.random.stateless_*`.

  Example:
    >>> generator = keras.random.SeedGenerator(3)
    >>> tf.random.stateless_uniform([2], next_seed(generator)).shape
    TensorShape([2])
  """
  start, counter = tf.unstack(tf.cast(generator.next(), tf.int32))
  return tf.stack([start + _STRIDE * replicas.replica_id(), counter])

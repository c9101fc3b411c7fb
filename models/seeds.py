"""Random seeds that differ from step to step and from replica to replica."""

import keras
import tensorflow as tf

from tf_pcc import replicas


def next_seed(generator: keras.random.SeedGenerator) -> tf.Tensor:
  """Draws a seed for the stateless random ops, another one on every replica.

  Every replica holds the same generator state, so noise drawn from it directly
  would be the same on all of them. The replica's number is folded in. With
  `alg="philox"`, here and in the op that uses the seed, a step gives the same
  numbers with and without XLA.

  Args:
    generator: A generator owned by the layer that draws, so that its state is
      saved with the model. It moves on by one.

  Returns:
    int32 [2], the `seed` argument of `tf.random.stateless_*`.

  Example:
    >>> generator = keras.random.SeedGenerator(3)
    >>> tf.random.stateless_uniform([2], next_seed(generator), alg="philox")
  """
  seed = tf.cast(generator.next(), tf.int32)
  return tf.random.experimental.stateless_fold_in(
    seed, replicas.replica_id(), alg="philox"
  )

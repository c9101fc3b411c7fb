"""What is clipped on its own: a core's batch, or micro-batches of it.

A set of units knows the norms of its gradients and can add them up once their
factors are known. Gradients come as Keras scales them (mean gradient times
1/R); norms are those of the mean gradients, the unit every bound is in.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from tf_pcc import clipping


class Units(Protocol):
  """What `PerCoreClipping.apply_units` takes: a core's units of one step.

  Attributes:
    norms: float32 [units], norms of the units' mean gradients.
  """

  norms: tf.Tensor

  def clipped(
    self, factors: tf.Tensor, weights: tf.Tensor
  ) -> list[tf.Tensor | None]:
    """This core's share of the update, from factors and weights [units].

    Args:
      factors: float32 [units], what each unit is multiplied by.
      weights: float32 [units], the share of each unit in the mean.

    Returns:
      List of tensors or None, one for each variable.
    """
    ...

  def unclipped(self, weights: tf.Tensor) -> list[tf.Tensor | None]:
    """The same without clipping.

    Args:
      weights: float32 [units], the share of each unit in the mean.

    Returns:
      List of tensors or None, one for each variable.
    """
    ...


class WholeBatch:
  """One unit: this core's batch.

  Args:
    gradients: list of tensors, `tf.IndexedSlices` or None.
    scale: float, mean gradient over `gradients`: R, times the inverse of a
      static loss scale.
  """

  def __init__(self, gradients: Sequence[Any], scale: float):
    self._gradients = clipping.densify(gradients)
    self.norms = clipping.global_norm(self._gradients)[None] * scale

  def clipped(
    self, factors: tf.Tensor, weights: tf.Tensor
  ) -> list[tf.Tensor | None]:
    """This core's share of the update.

    Args:
      factors: float32 [units] from `clipping.clip_factor`.
      weights: float32 [units], what each counts in the mean of all units.

    Returns:
      list of gradients, None where there was none.
    """
    return clipping.scale(self._gradients, factors[0] * weights[0])

  def unclipped(self, weights: tf.Tensor) -> list[tf.Tensor | None]:
    """The same without clipping; what is not live still gives zero.

    Args:
      weights: float32 [units], the share of each unit in the mean.

    Returns:
      List of tensors or None, one for each variable.
    """
    live = tf.cast(clipping.is_live(self.norms), tf.float32)
    return self.clipped(live, weights)


class StackedMicrobatches:
  """All micro-batches' gradients, kept until the bound is known.

  Args:
    stacked: list of dense tensors [k, ...], or None.
    norms: float32 [k], norms of the mean gradients.
  """

  def __init__(self, stacked: Sequence[tf.Tensor | None], norms: tf.Tensor):
    self._stacked = stacked
    self.norms = norms

  def clipped(
    self, factors: tf.Tensor, weights: tf.Tensor
  ) -> list[tf.Tensor | None]:
    """As `WholeBatch.clipped`: the mean over the micro-batches.

    Args:
      factors: float32 [units], what each unit is multiplied by.
      weights: float32 [units], the share of each unit in the mean.

    Returns:
      List of tensors or None, one for each variable.
    """
    count: Any = self.norms.shape[0]
    products = factors * weights

    def combine(stacked):
      shape = [count] + [1] * (stacked.shape.rank - 1)
      product = clipping.wide_product(stacked, tf.reshape(products, shape))
      return tf.cast(tf.reduce_sum(product, 0) / count, stacked.dtype)

    return [None if g is None else combine(g) for g in self._stacked]

  def unclipped(self, weights: tf.Tensor) -> list[tf.Tensor | None]:
    """As `WholeBatch.unclipped`.

    Args:
      weights: float32 [units], the share of each unit in the mean.

    Returns:
      List of tensors or None, one for each variable.
    """
    live = tf.cast(clipping.is_live(self.norms), tf.float32)
    return self.clipped(live, weights)


class SummedMicrobatches:
  """Micro-batches that wait for no other norm, clipped as they came, added up.

  Args:
    clipped: list of dense tensors or None, the sum of the clipped gradients.
    unclipped: the same of the live gradients, or None if not asked for.
    norms: float32 [k].
  """

  def __init__(
    self,
    clipped: Sequence[tf.Tensor | None],
    unclipped: Sequence[tf.Tensor | None] | None,
    norms: tf.Tensor,
  ):
    self._clipped = clipped
    self._unclipped = unclipped
    self.norms = norms

  def clipped(
    self, factors: tf.Tensor, weights: tf.Tensor
  ) -> list[tf.Tensor | None]:
    """As `WholeBatch.clipped`; the factors are in the sum already.

    Args:
      factors: float32 [units], what each unit is multiplied by.
      weights: float32 [units], the share of each unit in the mean.

    Returns:
      List of tensors or None, one for each variable.
    """
    del factors
    return self._mean(self._clipped, weights)

  def unclipped(self, weights: tf.Tensor) -> list[tf.Tensor | None]:
    """As `WholeBatch.unclipped`.

    Args:
      weights: float32 [units], the share of each unit in the mean.

    Returns:
      List of tensors or None, one for each variable.
    """
    return self._mean(self._unclipped, weights)

  def _mean(self, gradients, weights):
    # All micro-batches of a core weigh the same.
    return clipping.scale(gradients, weights[0] / self.norms.shape[0])

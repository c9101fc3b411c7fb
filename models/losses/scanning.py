"""A scan that writes its outputs only; `tf.scan` writes every carry too."""

from collections.abc import Callable, Sequence

import tensorflow as tf

Tensors = tuple[tf.Tensor, ...]


def scan(
  step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]],
  carry: Tensors,
  elements: Tensors,
  like: Sequence[tf.Tensor],
  reverse: bool = False,
) -> tuple[Tensors, Tensors]:
  """Calls the step for every element, one after another.

  Compiled, the carries stay where they are and nothing of them is written that
  nobody reads. It has no gradient.

  Args:
    step: function of the carry and of the elements [...] of one index, to the
      next carry and the outputs.
    carry: tensors that the first step takes.
    elements: tensors [N, ...].
    like: tensors of the outputs' types and shapes.
    reverse: bool, whether the last elements come first.

  Returns:
    The last carry; and the outputs, [N, ...] each.

  Example:
    >>> def step(carry, element):
    ...   total = carry[0] + element[0]
    ...   return (total,), (total,)
    >>> zero = tf.constant(0)
    >>> carry, sums = scan(step, (zero,), (tf.constant([1, 2, 4]),), [zero])
    >>> int(carry[0]), sums[0].numpy().tolist()
    (7, [1, 3, 7])
  """
  count = elements[0].shape[0]
  count = tf.shape(elements[0])[0] if count is None else count
  arrays = tuple(
    tf.TensorArray(x.dtype, count, element_shape=x.shape) for x in like
  )

  def body(done, carry, arrays):
    index = count - 1 - done if reverse else done
    carry, outputs = step(carry, tuple(x[index] for x in elements))
    arrays = tuple(
      array.write(index, x) for array, x in zip(arrays, outputs, strict=True)
    )
    return done + 1, carry, arrays

  _, carry, arrays = tf.while_loop(
    lambda done, *_: done < count,
    body,
    (0, carry, arrays),
    parallel_iterations=1,
    maximum_iterations=count,
  )
  return carry, tuple(array.stack() for array in arrays)

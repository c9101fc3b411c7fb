"""Types that signatures of models share."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

# Of a tensor to build for, None where an axis may have any size.
Shape = Sequence[int | None]
# The size of an axis: a number where it is known while the graph is traced.
Size = int | tf.Tensor
# A number of samples or frames, or an array of such numbers.
Counts = int | np.integer | np.ndarray
# {"audio", "audio_length"}, or {"labels", "label_length"}; see `Recogniser`.
Inputs = Mapping[str, tf.Tensor]
# What `call` of a model returns, by the names its class documents.
Outputs = dict[str, tf.Tensor]


def known(size: int | None) -> int:
  """A size that must be known while the graph is traced.

  Args:
    size: of an axis, from a shape.

  Returns:
    The size.

  Raises:
    ValueError: If it is None.
  """
  if size is None:
    raise ValueError(
      "The width of a layer's input must be known when it is built: give a "
      "shape, or an input, whose last axis has a size. Received: size=None"
    )
  return size

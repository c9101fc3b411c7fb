"""The maths of clipping, on lists of gradients. Nothing here knows of replicas.

Notation (Wang et al., Interspeech 2024, arXiv 2406.02004): `g` is the gradient
of all trainable variables together, `||g||` its L2 norm, `rho` the bound, and

    clip(g, rho) = g * min(1, rho / ||g||).

The normalised form divides this by the bound: `g * min(1 / rho, 1 / ||g||)`.

| gradient                  | result                                          |
|---------------------------|-------------------------------------------------|
| `||g|| <= rho`            | `g`, the same bits; normalised: `g / rho`       |
| `rho` infinite            | `g`, the same bits; normalised: zeros           |
| `rho` zero, normalised    | `g / ||g||`                                     |
| all zero                  | not live; zeros                                 |
| a NaN or an infinity      | not live; zeros (selected, never multiplied)    |
| norm overflows float32    | not live, as an infinity                        |
| `tf.IndexedSlices`        | duplicates summed: a dense tensor               |
| `None`                    | stays `None`, has no norm                       |
| float16, bfloat16         | norm and product in float32, dtype kept         |
| float64                   | norm in float32, product in float64             |
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# No float32 norm above zero is smaller: squares below 1e-45 are zero. It keeps
# the factor of a bound of zero finite, with room for a weight.
_SMALLEST_NORM = 1e-30


def densify(gradients: Sequence[Any]) -> list[tf.Tensor | None]:
  """Turns the sparse gradients of embeddings into dense ones.

  Rows looked up twice are summed. A sparse gradient would keep them apart, and
  every norm and every square of it would be wrong: `tf.linalg.global_norm`
  ignores duplicates, and Keras' Adam squares them one by one.

  Args:
    gradients: list of tensors, `tf.IndexedSlices` or `None`.

  Returns:
    list of tensors or `None`.
  """
  return [None if g is None else tf.convert_to_tensor(g) for g in gradients]


def global_norm(gradients: Sequence[Any]) -> tf.Tensor:
  """L2 norm over all gradients together, accumulated in float32.

  Args:
    gradients: list of tensors, `tf.IndexedSlices` or `None`, of any float dtype
      and any shape.

  Returns:
    float32 scalar. NaN or infinite when a gradient holds a NaN or an infinity.

  Raises:
    ValueError: If every gradient is `None`.

  Example:

  >>> float(global_norm([tf.constant([3.0, 0.0]), None, tf.constant(4.0)]))
  5.0
  """
  halves = [
    tf.nn.l2_loss(tf.cast(g, tf.float32))
    for g in densify(gradients)
    if g is not None
  ]
  if not halves:
    raise ValueError(
      "At least one gradient must be a tensor: no trainable variable is "
      f"connected to the loss. Received: gradients={gradients}"
    )
  return tf.sqrt(2.0 * tf.add_n(halves))


def is_live(norms: tf.Tensor) -> tf.Tensor:
  """Whether gradients of these norms take part in the update.

  Args:
    norms: float32 tensor of any shape.

  Returns:
    bool tensor of the same shape: finite and above zero.
  """
  return tf.math.is_finite(norms) & (norms > 0)


def clip_factor(
  norms: tf.Tensor, bound: tf.Tensor | float, normalize: bool = False
) -> tf.Tensor:
  """`min(1, rho / ||g||)`, exactly 1 where the norm is within the bound.

  Args:
    norms: float32 tensor of any shape.
    bound: float32 scalar above zero; infinity means no clipping. It may be zero
      where it is divided by.
    normalize: bool, whether the factor is divided by the bound:
      `min(1 / rho, 1 / ||g||)`. One division by the larger of the two, so
      neither a tiny nor a huge bound overflows.

  Returns:
    float32 tensor of the shape of `norms`: the factor of each gradient, 0 where
    it is not live.

  Example:

  >>> clip_factor(tf.constant([1.0, 8.0]), 2.0).numpy().tolist()
  [1.0, 0.25]
  >>> clip_factor(tf.constant([1.0, 8.0]), 2.0, normalize=True).numpy().tolist()
  [0.5, 0.125]
  """
  live = is_live(norms)
  safe = tf.where(live, norms, 1.0)
  if normalize:
    larger = tf.where(safe < bound, bound, safe)
    factor = 1.0 / tf.maximum(larger, _SMALLEST_NORM)
  else:
    factor = tf.where(safe > bound, bound / safe, 1.0)
  return tf.where(live, factor, 0.0)


def wide_product(gradient: tf.Tensor, factor: tf.Tensor | float) -> tf.Tensor:
  """`gradient * factor` in float64 for a float64 gradient, else in float32.

  Args:
    gradient: dense float tensor.
    factor: float32 tensor that broadcasts to it, or a float. Where it is 0 the
      product is 0 too, even of a NaN or an infinity.

  Returns:
    float64 or float32 tensor, for the caller to cast back to the gradient's
    dtype once it is done adding up.
  """
  wide = tf.float64 if gradient.dtype == tf.float64 else tf.float32
  # A factor of 0 gives 0 for a NaN too: a selection, not a product.
  return tf.math.multiply_no_nan(tf.cast(gradient, wide), tf.cast(factor, wide))


def scale(
  gradients: Sequence[Any], factor: tf.Tensor | float
) -> list[tf.Tensor | None]:
  """Multiplies every gradient by one factor; a factor of 0 selects zeros.

  Args:
    gradients: list of tensors, `tf.IndexedSlices` or `None`.
    factor: float32 scalar. At 1 the bits are unchanged; at 0 the result is zero
      even where a gradient holds a NaN.

  Returns:
    A list of dense tensors or `None`, shapes and dtypes unchanged.
  """
  return [
    None if g is None else tf.cast(wide_product(g, factor), g.dtype)
    for g in densify(gradients)
  ]


def clip_by_norm(
  gradients: Sequence[Any], bound: tf.Tensor | float
) -> tuple[list[tf.Tensor | None], tf.Tensor]:
  """`clip(g, rho)` of one gradient: the whole method on one core.

  Args:
    gradients: list of tensors, `tf.IndexedSlices` or `None`.
    bound: float32 scalar above zero.

  Returns:
    The clipped list and the float32 norm it had before.

  Example:

  >>> clipped, norm = clip_by_norm([tf.constant([3.0, 4.0])], 1.0)
  >>> float(norm), [round(g, 2) for g in clipped[0].numpy().tolist()]
  (5.0, [0.6, 0.8])
  """
  norm = global_norm(gradients)
  return scale(gradients, clip_factor(norm, bound)), norm

"""The transducer's loss over a few columns of the lattice in each frame.

An additive joint network, whose loss is cheap, says which columns matter; the
real one is evaluated for them alone. The loss of what is kept is the exact one
of all paths inside of the windows, so it is never below the full loss, and it
is the full loss where a window holds all columns.

Source: Kuang et al., "Pruned RNN-T for fast, memory-efficient ASR training",
Interspeech 2022, arXiv 2206.13236.
"""

from typing import NamedTuple

import tensorflow as tf

from models.losses import (
  transducer_joint,
  transducer_loss,
  transducer_simple,
  transducer_slices,
  transducer_windows,
)


class PrunedLosses(NamedTuple):
  """The two losses that are trained together.

  Attributes:
    simple: float32 [B], of the additive joint network, all paths.
    pruned: float32 [B], of the joint network, paths inside of the windows.
  """

  simple: tf.Tensor
  pruned: tf.Tensor


def pruned_transducer_losses(
  labels: tf.types.experimental.TensorLike,
  label_length: tf.types.experimental.TensorLike,
  encoder: tf.types.experimental.TensorLike,
  prediction: tf.types.experimental.TensorLike,
  length: tf.types.experimental.TensorLike,
  joint: transducer_joint.JointWeights,
  simple: transducer_simple.SimpleWeights,
  *,
  window: int = 5,
  lm_only_scale: float = 0.0,
  am_only_scale: float = 0.0,
  blank_index: int = 0,
  slice_frames: int | None = None,
) -> PrunedLosses:
  """The transducer's loss inside of windows, and that which chooses them.

  Unusual input gives what the table of `transducer_loss` says. More labels than
  (window - 1) a frame have no path inside of the windows: the pruned loss is
  inf, its gradient 0. The choice of the windows has no gradient.

  Args:
    labels: int [B, U], padded; no label is the blank.
    label_length: int [B].
    encoder: float [B, T, D] of any precision.
    prediction: float [B, U + 1, P]; row u has seen u labels.
    length: int [B], valid frames.
    joint: `transducer_joint.JointWeights`.
    simple: `transducer_simple.SimpleWeights`.
    window: int, columns that are kept in each frame, at least 2.
    lm_only_scale: float, share of prediction alone in the simple loss.
    am_only_scale: float, share of encoder alone, both together at most 1.
    blank_index: int, class of the blank.
    slice_frames: int, frames that are worked on at a time; by default as many
      as make a million logits.

  Returns:
    `PrunedLosses`, in nats, with gradients with respect to encoder, prediction
    and all weights.

  Raises:
    ValueError: If shapes, labels or lengths do not fit, or a window or scale is
      out of range.

  Example:
    >>> joint = transducer_joint.JointWeights(
    ...   tf.ones([3, 5]), tf.ones([2, 5]), tf.zeros([5]), tf.zeros([5, 4]),
    ...   tf.zeros([4]))
    >>> simple = transducer_simple.SimpleWeights(
    ...   tf.zeros([3, 4]), tf.zeros([2, 4]), tf.zeros([4]))
    >>> losses = pruned_transducer_losses(
    ...   [[3]], [1], tf.ones([1, 2, 3]), tf.ones([1, 2, 2]), [2],
    ...   joint, simple)
    >>> print(f"{losses.simple[0]:.4f} {losses.pruned[0]:.4f}")
    3.4657 3.4657
  """
  check(window, lm_only_scale, am_only_scale)
  given, encoder, prediction, joint, sizes = transducer_loss.checked(
    labels, label_length, encoder, prediction, length, joint, blank_index
  )
  batch, frames, columns, vocab = sizes
  simple = _as_float32(simple, encoder, prediction, joint)
  simple_losses, arcs = transducer_simple.simple_losses(
    given,
    encoder,
    prediction,
    simple,
    blank_index,
    transducer_slices.slice_frames(slice_frames, batch, frames + 1, 1, vocab),
    lm_only_scale=lm_only_scale,
    am_only_scale=am_only_scale,
  )
  size = max(2, min(window, columns)) if isinstance(columns, int) else window
  windows = transducer_windows.Windows(
    transducer_windows.choose(*arcs, given.length, given.label_length, size),
    size,
  )
  pruned_losses = transducer_loss.joint_losses(
    given,
    encoder,
    prediction,
    joint,
    blank_index,
    transducer_slices.slice_frames(slice_frames, batch, frames, size, vocab),
    windows,
  )
  return PrunedLosses(simple_losses, pruned_losses)


def check(window: int, lm_only_scale: float, am_only_scale: float) -> None:
  """Refuses what `pruned_transducer_losses` cannot take.

  Args:
    window: int.
    lm_only_scale: float.
    am_only_scale: float.

  Raises:
    ValueError: If one is out of range.
  """
  if window < 2:
    raise ValueError(
      "window must be at least 2, or no window could follow another. "
      f"Received: window={window}"
    )
  scales = {"lm_only_scale": lm_only_scale, "am_only_scale": am_only_scale}
  for name, scale in scales.items():
    if not 0 <= scale <= 1:
      raise ValueError(f"{name} must be 0 to 1. Received: {name}={scale}")
  if lm_only_scale + am_only_scale > 1:
    raise ValueError(
      "lm_only_scale and am_only_scale must be 1 together at most. Received: "
      f"lm_only_scale={lm_only_scale}, am_only_scale={am_only_scale}"
    )


def _as_float32(simple, encoder, prediction, joint):
  """As tensors whose shapes fit."""
  vocab = joint.output_kernel.shape[-1]
  wanted = {
    "encoder_kernel": [encoder.shape[-1], vocab],
    "prediction_kernel": [prediction.shape[-1], vocab],
    "bias": [vocab],
  }
  weights = []
  for name, value in simple._asdict().items():
    value = tf.cast(tf.convert_to_tensor(value), tf.float32)
    if not value.shape.is_compatible_with(wanted[name]):
      raise ValueError(
        f"simple.{name} must have the shape {tf.TensorShape(wanted[name])}. "
        f"Received: simple.{name}.shape={value.shape}"
      )
    weights.append(value)
  return transducer_simple.SimpleWeights(*weights)

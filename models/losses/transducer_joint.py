"""The joint network of a transducer, as weights and as a function of them."""

from typing import Any, NamedTuple

import tensorflow as tf


class JointWeights(NamedTuple):
  """Weights of the joint network, tensors or variables.

  logits[b, t, u] = tanh(encoder[b, t] encoder_kernel + prediction[b, u]
  prediction_kernel + bias) output_kernel + output_bias

  Attributes:
    encoder_kernel: float [D, H].
    prediction_kernel: float [P, H].
    bias: float [H].
    output_kernel: float [H, V].
    output_bias: float [V].
  """

  encoder_kernel: Any
  prediction_kernel: Any
  bias: Any
  output_kernel: Any
  output_bias: Any


def joint_logits(
  encoder: tf.types.experimental.TensorLike,
  prediction: tf.types.experimental.TensorLike,
  joint: JointWeights,
) -> tf.Tensor:
  """The joint network: logits at every node of the lattice.

  Args:
    encoder: float [B, T, D].
    prediction: float [B, U + 1, P].
    joint: `JointWeights`.

  Returns:
    float32 [B, T, U + 1, V].
  """
  encoder, prediction, joint = as_float32(encoder, prediction, joint)
  encoder, prediction = project(encoder, prediction, joint)
  hidden = tf.tanh(encoder[:, :, None] + prediction[:, None])
  return tf.tensordot(hidden, joint.output_kernel, 1) + joint.output_bias


def project(
  encoder: tf.Tensor, prediction: tf.Tensor, joint: JointWeights
) -> tuple[tf.Tensor, tf.Tensor]:
  """What the hidden layer adds up: [B, T, H] and [B, U + 1, H].

  Args:
    encoder: float32 [B, T, D].
    prediction: float32 [B, U + 1, P].
    joint: `JointWeights`.

  Returns:
    float32 [B, T, H] and [B, U + 1, H].
  """
  return (
    tf.tensordot(encoder, joint.encoder_kernel, 1) + joint.bias,
    tf.tensordot(prediction, joint.prediction_kernel, 1),
  )


def as_float32(
  encoder: tf.types.experimental.TensorLike,
  prediction: tf.types.experimental.TensorLike,
  joint: JointWeights,
) -> tuple[tf.Tensor, tf.Tensor, JointWeights]:
  """The arguments of `joint_logits` as float32 tensors whose shapes fit.

  Args:
    encoder: float [B, T, D].
    prediction: float [B, U + 1, P].
    joint: `JointWeights`.

  Returns:
    Encoder, prediction and `JointWeights`, float32.

  Raises:
    ValueError: If a shape does not fit the others.
  """
  # Also because a custom gradient must not meet variables.
  encoder, prediction, *weights = (
    tf.cast(tf.convert_to_tensor(x), tf.float32)
    for x in (encoder, prediction, *joint)
  )
  joint = JointWeights(*weights)
  for name, value, shape in (
    ("encoder", encoder, "BTD"),
    ("prediction", prediction, "BCP"),
    ("joint.encoder_kernel", joint.encoder_kernel, "DH"),
    ("joint.prediction_kernel", joint.prediction_kernel, "PH"),
    ("joint.bias", joint.bias, "H"),
    ("joint.output_kernel", joint.output_kernel, "HV"),
    ("joint.output_bias", joint.output_bias, "V"),
  ):
    known = {
      **dict(zip("BTD", encoder.shape)),
      **dict(zip("P", prediction.shape[2:])),
      **dict(zip("HV", joint.output_kernel.shape)),
    }
    want = [known.get(axis) for axis in shape]
    if not value.shape.is_compatible_with(want):
      axes = ", ".join("U + 1" if axis == "C" else axis for axis in shape)
      raise ValueError(
        f"{name} must have the shape [{axes}], here "
        f"{tf.TensorShape(want)}. Received: {name}.shape={value.shape}"
      )
  return encoder, prediction, joint

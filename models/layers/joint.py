"""The joint network of a transducer, as a layer that owns its weights."""

from typing import Any

import keras
import tensorflow as tf

from models import signatures
from models.layers import blank_prior as blank_priors
from models.losses import transducer_joint


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class Joint(keras.layers.Layer):
  """logits = tanh(encoder E + prediction P + bias) output + output bias.

  Its training form is `transducer_loss.fused_transducer_losses`, which takes
  `joint_weights()`; called as a layer it computes single nodes of the lattice.
  In float32 whatever the dtype policy says, as the loss is.

  Args:
    vocab_size: int, number of classes, the blank included.
    dim: int, width of the hidden layer.
    blank_prior: float, probability of the blank before training, see
      `blank_prior.BlankPrior`.

  References:
    Graves, Mohamed and Hinton, arXiv 1303.5778, section 3.2.
  """

  def __init__(
    self, vocab_size: int, dim: int, blank_prior: float = 0.9, **kwargs: Any
  ):
    kwargs["dtype"] = "float32"
    super().__init__(**kwargs)
    self.vocab_size, self.dim = int(vocab_size), int(dim)
    self.blank_prior = float(blank_prior)

  def build(
    self, encoder_shape: signatures.Shape, prediction_shape: signatures.Shape
  ) -> None:
    prior = blank_priors.BlankPrior(self.blank_prior)
    for name, shape, initializer in (
      ("encoder_kernel", [encoder_shape[-1], self.dim], "glorot_uniform"),
      ("prediction_kernel", [prediction_shape[-1], self.dim], "glorot_uniform"),
      ("bias", [self.dim], "zeros"),
      ("output_kernel", [self.dim, self.vocab_size], "glorot_uniform"),
      ("output_bias", [self.vocab_size], prior),
    ):
      weight = self.add_weight(name=name, shape=shape, initializer=initializer)
      setattr(self, name, weight)
    self.built = True

  def joint_weights(self) -> transducer_joint.JointWeights:
    """The variables, as `transducer_joint.JointWeights`."""
    return transducer_joint.JointWeights(
      *(getattr(self, name) for name in transducer_joint.JointWeights._fields)
    )

  def of_encoder(self, encoded: tf.Tensor) -> tf.Tensor:
    """The encoder's part of the hidden layer: [..., D] to float32 [..., dim].

    A decoder computes it once for all frames.

    Args:
      encoded: float [..., D].

    Returns:
      float32 [..., dim].
    """
    encoded = tf.cast(encoded, tf.float32)
    return tf.tensordot(encoded, self.encoder_kernel, 1) + self.bias

  def call(self, of_encoder: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """Logits of nodes.

    Args:
      of_encoder: float32 [..., dim], from `of_encoder`.
      prediction: float [..., P] of as many nodes.

    Returns:
      float32 [..., V].
    """
    prediction = tf.cast(prediction, tf.float32)
    of_prediction = tf.tensordot(prediction, self.prediction_kernel, 1)
    hidden = tf.tanh(of_encoder + of_prediction)
    return tf.tensordot(hidden, self.output_kernel, 1) + self.output_bias

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "vocab_size": self.vocab_size,
      "dim": self.dim,
      "blank_prior": self.blank_prior,
    }

"""The additive joint network of a pruned transducer, as a layer."""

from typing import Any

import keras

from models import signatures
from models.layers import blank_prior as blank_priors
from models.losses import transducer_simple


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class SimpleJoint(keras.layers.Layer):
  """Weights of logits = encoder E + prediction P + bias.

  Only the loss has a use for them; no transcript depends on them. In
  float32 whatever the dtype policy says, as the loss is.

  Args:
    vocab_size: int, number of classes, the blank included.
    blank_prior: float, probability of the blank before training, see
      `blank_prior.BlankPrior`.

  References:
    Kuang et al., arXiv 2206.13236, section 3.
  """

  def __init__(self, vocab_size: int, blank_prior: float = 0.9, **kwargs: Any):
    kwargs["dtype"] = "float32"
    super().__init__(**kwargs)
    self.vocab_size = int(vocab_size)
    self.blank_prior = float(blank_prior)

  def build(
    self, encoder_shape: signatures.Shape, prediction_shape: signatures.Shape
  ) -> None:
    prior = blank_priors.BlankPrior(self.blank_prior)
    for name, shape, initializer in (
      (
        "encoder_kernel",
        [encoder_shape[-1], self.vocab_size],
        "glorot_uniform",
      ),
      (
        "prediction_kernel",
        [prediction_shape[-1], self.vocab_size],
        "glorot_uniform",
      ),
      ("bias", [self.vocab_size], prior),
    ):
      weight = self.add_weight(name=name, shape=shape, initializer=initializer)
      setattr(self, name, weight)
    self.built = True

  def simple_weights(self) -> transducer_simple.SimpleWeights:
    """The variables, as `transducer_simple.SimpleWeights`."""
    return transducer_simple.SimpleWeights(
      *(getattr(self, name) for name in transducer_simple.SimpleWeights._fields)
    )

  def get_config(self) -> dict[str, Any]:
    return {
      **super().get_config(),
      "vocab_size": self.vocab_size,
      "blank_prior": self.blank_prior,
    }

"""Conformer recognisers trained with the transducer loss."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models import conformer, recogniser, signatures, speech_model
from models import pruning as _pruning
from models.decoding import transducer_decoding
from models.layers import joint, simple_joint
from models.layers import prediction as _prediction
from models.losses import transducer_loss, transducer_pruned

# Widths of the prediction network: table 1 of the Conformer paper, arXiv
# 2005.08100, which does not give the joint network's; tiny is this package's.
SIZES = {
  "tiny": {"prediction_dim": 144, "joint_dim": 144},
  "S": {"prediction_dim": 320, "joint_dim": 640},
  "M": {"prediction_dim": 640, "joint_dim": 640},
  "L": {"prediction_dim": 640, "joint_dim": 640},
}


@keras.saving.register_keras_serializable(package="tf_pcc_models")
class ConformerTransducer(recogniser.Recogniser):
  """Conformer encoder, prediction and joint network; input as `Recogniser`.

  Gives {"encoded": float [B, T, D], "length": int32 [B]}.

  Args:
    vocab_size: int, number of classes, the blank included.
    encoder: `conformer.ConformerConfig` or its dict.
    prediction: "lstm" or "stateless", see `models.layers.prediction`.
    prediction_dim: int, its width.
    joint_dim: int, width of the joint network.
    max_symbols: int, labels of a frame after which greedy decoding leaves it.
    loss: "full", or "pruned", which trains on a few columns of the lattice in
      each frame and has weights of its own to choose them.
    pruning: dict of the fields of `pruning.PruningConfig`, or None.
    features: dict of arguments of `features.LogMel`, or None.
    specaugment: dict of arguments of `specaugment.SpecAugment`, or None.
    blank_prior: float, probability of the blank before training, see
      `blank_prior.BlankPrior`.
    seed: int, for the noise of training; weights are drawn from Keras's global
      seed (`keras.utils.set_random_seed`).

  Raises:
    ValueError: If a value is not one of those.

  Example:
    >>> model = ConformerTransducer(
    ...   vocab_size=30, encoder=conformer.SIZES["tiny"])
    >>> model.build_from_signature()
    >>> length = tf.constant([16000])
    >>> outputs = model({"audio": tf.zeros([1, 16000]), "audio_length": length})
    >>> ids, count = model.decode(outputs)
    >>> ids.shape, count.shape
    (TensorShape([1, 75]), TensorShape([1]))

  References:
    Graves, arXiv 1211.3711; Gulati et al., arXiv 2005.08100, section 3.2.
  """

  def __init__(
    self,
    *,
    vocab_size: int,
    encoder: conformer.ConformerConfig | Mapping[str, Any],
    prediction: str = "lstm",
    prediction_dim: int = 320,
    joint_dim: int = 640,
    max_symbols: int = 3,
    loss: str = "full",
    pruning: Mapping[str, Any] | None = None,
    features: dict | None = None,
    specaugment: dict | None = None,
    blank_prior: float = 0.9,
    seed: int = 0,
    **kwargs: Any,
  ):
    super().__init__(
      vocab_size=vocab_size,
      features=features,
      specaugment=specaugment,
      seed=seed,
      **kwargs,
    )
    if prediction not in _prediction.NETWORKS:
      raise ValueError(
        f"prediction must be one of {sorted(_prediction.NETWORKS)}. "
        f"Received: prediction={prediction!r}"
      )
    widths = {
      "prediction_dim": int(prediction_dim),
      "joint_dim": int(joint_dim),
      "max_symbols": int(max_symbols),
    }
    for name, value in widths.items():
      if value < 1:
        raise ValueError(f"{name} must be at least 1. Received: {name}={value}")
      self.config[name] = value
    if dataclasses.is_dataclass(encoder):
      encoder = dataclasses.asdict(encoder)
    self.config["encoder"] = dict(encoder)
    self.config["prediction"] = prediction
    self.config["blank_prior"] = float(blank_prior)
    self.pruning = _pruning.of_loss(loss, pruning)
    self.config["loss"] = loss
    self.config["pruning"] = dict(pruning or {})
    self.encoder = conformer.ConformerEncoder(
      self.config["encoder"], seed=self.layer_seed(2), dtype=self.dtype_policy
    )
    self.prediction = _prediction.NETWORKS[prediction](
      vocab_size, prediction_dim, dtype=self.dtype_policy
    )
    self.joint = joint.Joint(vocab_size, joint_dim, blank_prior)
    if self.pruning:
      self.simple_joint = simple_joint.SimpleJoint(vocab_size, blank_prior)

  def fits_lengths(
    self,
    labels: np.ndarray,
    repeats: np.ndarray,
    samples: np.ndarray,
  ) -> np.ndarray:
    """Whether greedy search, and a window of the loss, could hold the labels.

    Greedy search says `max_symbols` a frame, the pruned loss one less than
    columns of a window.

    Args:
      labels: ints [N], how many labels each utterance has.
      repeats: ints [N], how many of them equal the one before.
      samples: ints [N], how many samples each has.

    Returns:
      bool [N].
    """
    of_frame = self.config["max_symbols"]
    if self.pruning:
      of_frame = min(of_frame, self.pruning.window - 1)
    most = of_frame * self.frames(samples)
    return super().fits_lengths(labels, repeats, samples) & np.less_equal(
      labels, most
    )

  def build_outputs(self, dim: int) -> None:
    """Builds the output layers.

    Args:
      dim: the encoder's width.
    """
    self.prediction.build((None, None))
    shapes = (None, None, dim), (None, None, self.prediction.dim)
    self.joint.build(*shapes)
    if self.pruning:
      self.simple_joint.build(*shapes)

  def call(
    self, x: signatures.Inputs, training: bool = False
  ) -> signatures.Outputs:
    encoded, length = self.encode(x, training=training)
    return {"encoded": encoded, "length": length}

  def example_losses(
    self, y: signatures.Inputs, outputs: signatures.Outputs
  ) -> tf.Tensor:
    """float32 [B], every utterance's loss in nats.

    `models.losses.transducer_loss` says what unusual input gives.

    Args:
      y: {"labels": int32 [B, U], "label_length": int32 [B]}.
      outputs: what `call` returned.

    Returns:
      float32 [B], nats.
    """
    return self._lattice_losses(y, outputs, None)

  def training_losses(
    self, y: signatures.Inputs, outputs: signatures.Outputs
  ) -> tf.Tensor:
    """float32 [B], what training minimises.

    With loss="pruned" the sum of two losses, see `pruning.PruningConfig`; not a
    likelihood, which `example_losses` gives, all paths counted.

    Args:
      y: as for `example_losses`.
      outputs: what `call` returned.

    Returns:
      float32 [B].
    """
    return self._lattice_losses(y, outputs, self.pruning)

  def _lattice_losses(self, y, outputs, pruning):
    labels = tf.convert_to_tensor(y["labels"])
    arguments = (
      labels,
      y["label_length"],
      outputs["encoded"],
      self.prediction(labels),
      outputs["length"],
      self.joint.joint_weights(),
    )
    if pruning is None:
      return transducer_loss.fused_transducer_losses(*arguments)
    losses = transducer_pruned.pruned_transducer_losses(
      *arguments,
      self.simple_joint.simple_weights(),
      window=pruning.window,
      lm_only_scale=pruning.lm_only_scale,
      am_only_scale=pruning.am_only_scale,
    )
    optimizer = getattr(self, "optimizer", None)
    simple_scale, pruned_scale = pruning.scales(
      optimizer.iterations if optimizer else None
    )
    total = simple_scale * losses.simple + pruned_scale * losses.pruned
    # Without a path inside of the windows: no gradient, as without any path.
    return tf.where(tf.math.is_inf(losses.pruned), losses.pruned, total)

  def decode(self, outputs: signatures.Outputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Greedy token ids int32 [B, T * max_symbols] and their number int32 [B].

    Audio that is not finite has none.

    Args:
      outputs: what `call` returned.

    Returns:
      int32 [B, U] and int32 [B].
    """
    return transducer_decoding.greedy(
      outputs["encoded"],
      self._usable_length(outputs),
      self.prediction,
      self.joint,
      self.config["max_symbols"],
    )

  def decode_scored(
    self, outputs: signatures.Outputs
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As `decode`, and float32 [B], log-probabilities of the greedy paths.

    0 for audio without frames, -inf for audio that is not finite.

    Args:
      outputs: what `call` returned.

    Returns:
      int32 [B, U], int32 [B] and float32 [B].
    """
    length = self._usable_length(outputs)
    ids, count, scores = transducer_decoding.greedy_scored(
      outputs["encoded"],
      length,
      self.prediction,
      self.joint,
      self.config["max_symbols"],
    )
    usable = length == outputs["length"]
    return ids, count, tf.where(usable, scores, -float("inf"))

  def n_best(
    self, outputs: signatures.Outputs, n: int, beam_width: int
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The n best label sequences; see `transducer_decoding.beam_search`.

    Args:
      outputs: what `call` returned.
      n: int, at most `beam_width`.
      beam_width: int, sequences kept in every frame.

    Returns:
      int32 [B, n, T] ids padded with 0, int32 [B, n] their numbers, and float32
      [B, n] log-probabilities, best first.
    """
    return transducer_decoding.beam_search(
      outputs["encoded"],
      self._usable_length(outputs),
      self.prediction,
      self.joint,
      beam_width,
      n,
    )

  def label_log_probs(
    self, encoded: tf.Tensor, labels: tf.types.experimental.TensorLike
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """What `alignment.align_transducer` takes, of one utterance.

    Args:
      encoded: float [T, D], its valid frames.
      labels: ints [U].

    Returns:
      float32 [T, U + 1] of the blank and float32 [T, U] of the labels.
    """
    labels = tf.reshape(tf.cast(labels, tf.int32), [1, -1])
    nodes = self.joint(
      self.joint.of_encoder(encoded)[:, None], self.prediction(labels)
    )
    log_probs = tf.nn.log_softmax(nodes)
    of_labels = tf.gather(
      log_probs[:, :-1],
      tf.repeat(labels, tf.shape(encoded)[0], axis=0),
      axis=2,
      batch_dims=2,
    )
    return log_probs[..., 0], of_labels

  def _usable_length(self, outputs):
    return speech_model.finite_length(outputs["encoded"], outputs["length"])

"""This package's side of a training step: Conformer CTC on given features."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_pcc
from launch.runs import fused_adam
from models import conformer, signatures
from models.losses import ctc_loss

BANDS = 80
VOCABULARY = 256
LEARNING_RATE = 1e-4
_FRAMES_PER_SECOND = 100
_LABELS_PER_SECOND = 4


@dataclasses.dataclass(frozen=True)
class Batch:
  """What both sides train on, of noise, all utterances of one length.

  Attributes:
    features: float32 [B, T, BANDS].
    lengths: int32 [B].
    labels: int32 [B, U].
    label_lengths: int32 [B].
  """

  features: np.ndarray
  lengths: np.ndarray
  labels: np.ndarray
  label_lengths: np.ndarray

  @classmethod
  def make(cls, utterances: int, seconds: float) -> "Batch":
    """A batch, the same whenever it is asked for.

    Args:
      utterances: int, B.
      seconds: float, of each.

    Returns:
      The batch.
    """
    rng = np.random.default_rng(0)
    frames = round(seconds * _FRAMES_PER_SECOND)
    count = round(seconds * _LABELS_PER_SECOND)
    features = rng.normal(size=[utterances, frames, BANDS])
    return cls(
      features.astype(np.float32),
      np.full([utterances], frames, np.int32),
      rng.integers(1, VOCABULARY, [utterances, count]).astype(np.int32),
      np.full([utterances], count, np.int32),
    )

  def uneven(self) -> "Batch":
    """The same with other lengths.

    Returns:
      A batch of utterances that have from half to all of the frames.
    """
    frames = self.features.shape[1]
    lengths = np.linspace(frames // 2, frames, len(self.lengths))
    return dataclasses.replace(self, lengths=lengths.astype(np.int32))


class Recogniser(tf_pcc.PerCoreModel):
  """Encoder, output layer and CTC.

  Args:
    size: str, of `conformer.SIZES`.
  """

  def __init__(self, size: str):
    super().__init__()
    self.encoder = conformer.ConformerEncoder(conformer.SIZES[size])
    self.head = keras.layers.Dense(VOCABULARY)

  def call(
    self, x: signatures.Inputs, training: bool = False
  ) -> signatures.Outputs:
    encoded, length = self.encoder(
      x["features"], x["length"], training=training
    )
    return {"logits": self.head(encoded), "length": length}

  def compute_loss(
    self,
    x: Any = None,
    y: Any = None,
    y_pred: Any = None,
    sample_weight: Any = None,
    training: bool = True,
  ) -> tf.Tensor:
    """The mean of `losses_of`.

    Args:
      x: of no use here, and so are sample_weight and training.
      y: dict of labels and label_length.
      y_pred: what `call` returned.
      sample_weight: None.
      training: bool.

    Returns:
      float32 scalar, nats.
    """
    del x, sample_weight, training
    return tf.reduce_mean(self.losses_of(y, y_pred))

  def losses_of(
    self, y: signatures.Inputs, outputs: signatures.Outputs
  ) -> tf.Tensor:
    """float32 [B], nats.

    Args:
      y: dict of labels and label_length.
      outputs: what `call` returned.

    Returns:
      float32 [B].
    """
    return ctc_loss.ctc_losses(
      y["labels"], y["label_length"], outputs["logits"], outputs["length"]
    )


def make(size: str, batch: Batch) -> Recogniser:
  """A built model, its weights seeded.

  Args:
    size: str, of `conformer.SIZES`.
    batch: what it is built for.

  Returns:
    The model.
  """
  keras.utils.set_random_seed(0)
  model = Recogniser(size)
  model(_data(batch)[0])
  # Zeros would hide that a bias is left out.
  for weight in model.trainable_variables:
    if not np.any(np.asarray(weight)):
      weight.assign(keras.random.normal(weight.shape, stddev=0.02, seed=1))
  return model


def outputs(model: Recogniser, batch: Batch) -> list[np.ndarray]:
  """What a twin must agree with: logits of valid frames, losses.

  Args:
    model: as `make` returned it.
    batch: its input.

  Returns:
    float32 [N, VOCABULARY] and [B].
  """
  x, y = _data(batch)
  found = model(x)
  valid = tf.sequence_mask(found["length"], tf.shape(found["logits"])[1])
  logits = tf.boolean_mask(found["logits"], valid)
  return [logits.numpy(), model.losses_of(y, found).numpy()]


def make_step(
  model: Recogniser, batch: Batch, clipping: tf_pcc.Clipping | None = None
) -> Callable[[], float]:
  """A function that takes one training step with Adam.

  Args:
    model: as `make` returned it.
    batch: what it trains on.
    clipping: None, or how gradients are clipped.

  Returns:
    function without arguments; the loss, float.
  """
  optimizer = fused_adam.FusedAdam(LEARNING_RATE)
  model.compile(optimizer=optimizer, clipping=clipping)
  optimizer.build(model.trainable_variables)
  train_step = tf.autograph.experimental.do_not_convert(model.train_step)
  run = tf.function(train_step, autograph=False)
  data = _data(batch)

  def step():
    loss = float(run(data)["loss"])
    # The weights of the step are there when this can be read.
    keras.ops.convert_to_numpy(optimizer.iterations)
    return loss

  return step


def _data(batch):
  x = {"features": batch.features, "length": batch.lengths}
  y = {"labels": batch.labels, "label_length": batch.label_lengths}
  return tf.nest.map_structure(tf.constant, (x, y))

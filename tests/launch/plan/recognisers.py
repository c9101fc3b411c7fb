"""Small recognisers under a TPUStrategy, and what NumPy says of them."""

import keras
import numpy as np
import tensorflow as tf

import tf_pcc
from launch.plan import tracing
from models import registry
from models.losses import ctc_loss as _ctc_loss
from tests import reference

CORES = 4
FRAMES, BANDS, LABELS, CLASSES = 12, 4, 3, 5
CONFORMER = {
  "size": "tiny",
  "encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3},
  "features": {"mels": 16},
}
SILENT = {
  **CONFORMER,
  "encoder": {**CONFORMER["encoder"], "dropout": 0.0},
  "specaugment": {"frequency_masks": 0, "time_masks": 0},
}


def ctc_loss(labels, logits):
  """float32 [B], every label and every frame counting."""
  batch = logits.shape[0]
  return _ctc_loss.ctc_losses(
    tf.cast(labels, tf.int32),
    tf.fill([batch], labels.shape[1]),
    logits,
    tf.fill([batch], logits.shape[1]),
  )


class Recogniser(tf_pcc.PerCoreModel):
  """A functional model with a loss of its own."""

  def compute_loss(
    self, x=None, y=None, y_pred=None, sample_weight=None, training=True
  ):
    return tf.reduce_mean(ctc_loss(y, y_pred))


def layers():
  """Inputs and outputs of a small CTC network."""
  inputs = keras.Input((FRAMES, BANDS))
  x = keras.layers.Conv1D(8, 3, padding="same", activation="tanh")(inputs)
  return inputs, keras.layers.Dense(CLASSES)(x)


def compiled(strategy, api, bound, optimizer=None, **options):
  """The small recogniser behind one of the APIs, its optimizer built.

  Args:
    strategy: tf.distribute.Strategy.
    api: "model", "optimizer" or "stock" (no clipping of ours).
    bound: a bound of tf_pcc, or None.
    optimizer: function that makes one; momentum by default.
    **options: of `tf_pcc.Clipping`.
  """
  optimizer = optimizer or reference.OPTIMIZERS["momentum"][0]
  with strategy.scope():
    if api == "model":
      model = Recogniser(*layers())
      clipping = bound and tf_pcc.Clipping(bound, **options)
      model.compile(optimizer=optimizer(), clipping=clipping)
    else:
      model = keras.Model(*layers())
      inner = optimizer()
      if api == "optimizer":
        inner = tf_pcc.PerCoreClipping(inner, bound, **options)
      model.compile(optimizer=inner, loss=ctc_loss)
    model.optimizer.build(model.trainable_variables)
  return model


def conformer(strategy, clipping, fields=None):
  """The recogniser of launch.train, its encoder tiny."""
  with strategy.scope():
    model = registry.build_model(
      "conformer_ctc", fields or CONFORMER, vocab_size=8
    )
    model.compile(
      optimizer=reference.OPTIMIZERS["momentum"][0](), clipping=clipping
    )
    model.optimizer.build(model.trainable_variables)
  return model


def one_core():
  """The strategy of a machine without one."""
  return tf.distribute.get_strategy()


def speech(seed, rows=2):
  """(x, y) of one core for `conformer`, louder from core to core."""
  rng = np.random.default_rng(seed)
  samples = rng.normal(size=(rows, 3200)).astype(np.float32) * 0.1
  labels = rng.integers(1, 8, (rows, LABELS)).astype(np.int32)
  return (
    {"audio": samples, "audio_length": np.full(rows, 3000, np.int32)},
    {"labels": labels, "label_length": np.full(rows, 2, np.int32)},
  )


def frames(seed, rows=4):
  """(x, y) of one core for the small recogniser, of uneven loudness."""
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(rows, FRAMES, BANDS)) * rng.lognormal()
  y = rng.integers(1, CLASSES, (rows, LABELS))
  return x.astype(np.float32), y.astype(np.int32)


def five_steps(make=frames):
  """Batches [step][core]; core 1 is broken in the third step, all in the 4th.

  Args:
    make: `frames` or `speech`, for which nothing is broken.
  """
  steps = [
    [make(10 * step + core) for core in range(CORES)] for step in range(5)
  ]
  if make is frames:
    steps[2][1][0][:] = np.nan
    for x, _ in steps[3]:
      x[:] = np.nan
  return steps


def traced(strategy, model, batches):
  """The concrete function of `model.train_step`, and its data."""
  data = tracing.distribute(strategy, batches)
  return tracing.trace(strategy, model.train_step, data), data


def numpy_training(
  model,
  weights,
  steps,
  bound,
  parts=1,
  norm=None,
  normalize=False,
  dead="fixed",
):
  """The method in NumPy, on the gradients of a model without a strategy.

  Args:
    model: uncompiled, of the same architecture; its weights are overwritten.
    weights: list of arrays, the trainable ones at the start.
    steps: from `five_steps`.
    bound: `tests.reference.Bound`.
    parts: micro-batches of a core's batch.
    norm: bound of batch clipping, or None.
    normalize: whether the update is divided by the bound.
    dead: "fixed" or "live".

  Returns:
    list of arrays after the steps.
  """
  optimizer = reference.Momentum(0.05)

  @tf.function(reduce_retracing=True)
  def gradients(x, y):
    with tf.GradientTape() as tape:
      loss = model.compute_loss(x, y, model(x, training=True))
    return tape.gradient(loss, model.trainable_variables)

  def cut(tree, part):
    return keras.tree.map_structure(
      lambda t: tf.constant(np.split(t, parts)[part]), tree
    )

  for batches in steps:
    for variable, value in zip(model.trainable_variables, weights):
      variable.assign(value)
    units = [
      [g.numpy() for g in gradients(*cut(batch, part))]
      for batch in batches
      for part in range(parts)
    ]
    total = reference.clipped_mean(units, bound, dead, norm, normalize)
    if total is not None:
      weights = optimizer(weights, total)
  return weights


def differences(model, weights):
  """Largest difference of any core's copy from the weights given."""
  return max(
    np.abs(copy.numpy() - weight).max()
    for variable, weight in zip(model.trainable_variables, weights)
    for copy in variable.value.values
  )

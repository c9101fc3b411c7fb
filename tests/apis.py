"""A model whose per-core gradients the test chooses, behind either API."""

import keras
import numpy as np
import tensorflow as tf

import tf_pcc

APIS = ("optimizer", "model")


def linear_loss(_, y_pred):
  """The prediction itself: the gradient of w in w.x is the mean x."""
  return y_pred[:, 0]


def compiled(
  api, strategy, size, bound, optimizer=None, clipping=None, **options
):
  """A model w.x, compiled through one API.

  Args:
    api: one of `APIS`.
    strategy: tf.distribute.Strategy.
    size: length of w, which starts at zero.
    bound: a bound of tf_pcc, or None for a stock model.
    optimizer: function that makes one; SGD(1) by default, so that the weights
      are minus the update.
    clipping: dict of more options of the clipping.
    **options: more options of compile.

  Returns:
    keras.Model.
  """
  clipping = clipping or {}
  with strategy.scope():
    optimizer = keras.optimizers.SGD(1.0) if optimizer is None else optimizer()
    inputs = keras.Input((size,))
    outputs = keras.layers.Dense(
      1, use_bias=False, kernel_initializer="zeros", dtype="float32"
    )(inputs)
    if api == "optimizer":
      model = keras.Model(inputs, outputs)
      if bound is not None:
        optimizer = tf_pcc.PerCoreClipping(optimizer, bound, **clipping)
      model.compile(optimizer, loss=linear_loss, **options)
    else:
      model = tf_pcc.PerCoreModel(inputs, outputs)
      if bound is not None:
        options["clipping"] = tf_pcc.Clipping(bound, **clipping)
      model.compile(optimizer, loss=linear_loss, **options)
  return model


def batches(gradients, per_core=2):
  """A dataset of steps whose per-core mean gradients are the rows given.

  Args:
    gradients: float [steps, cores, size].
    per_core: rows a core.

  Returns:
    tf.data.Dataset of (x, y), one element a step.
  """
  cores = np.shape(gradients)[1]
  data = _examples(gradients, per_core)
  return untuned(data.batch(cores * per_core, drop_remainder=True))


def _examples(gradients, per_core):
  """A dataset of the rows of `batches`."""
  gradients = np.asarray(gradients, np.float32)
  x = np.repeat(gradients, per_core, axis=1).reshape(-1, gradients.shape[-1])
  y = np.zeros((len(x), 1), np.float32)
  return tf.data.Dataset.from_tensor_slices((x, y))


def handed_out(strategy, data, batch):
  """Global batches of which every core reads its own rows.

  `fit` would share out a dataset in the same way, but makes an iterator that
  traces a handful of functions for every core, which takes as long as tracing
  a small step.

  Args:
    strategy: tf.distribute.Strategy.
    data: tf.data.Dataset of examples; the last incomplete batch is left out.
    batch: rows of a global batch.

  Returns:
    What `fit` of a model under the strategy takes.
  """
  cores = strategy.num_replicas_in_sync
  data = untuned(data.batch(batch // cores, drop_remainder=True))
  if cores == 1:
    return data
  return strategy.distribute_datasets_from_function(
    lambda context: data.shard(cores, context.input_pipeline_id),
    tf.distribute.InputOptions(
      experimental_fetch_to_device=False,
      experimental_replication_mode=(
        tf.distribute.InputReplicationMode.PER_REPLICA
      ),
    ),
  )


def untuned(data):
  """A dataset whose iterators end at once, not when their tuner wakes up."""
  options = tf.data.Options()
  options.autotune.enabled = False
  return data.with_options(options)


def update(model, gradients, **options):
  """Trains on these gradients and returns minus the change of w.

  Args:
    model: from `compiled`.
    gradients: float [steps, cores, size].
    **options: of `fit`.

  Returns:
    float32 [size].
  """
  before = model.get_weights()[0][:, 0]
  data = handed_out(
    model.distribute_strategy,
    _examples(gradients, per_core=2),
    2 * np.shape(gradients)[1],
  )
  model.fit(data, verbose=0, **options)
  return before - model.get_weights()[0][:, 0]

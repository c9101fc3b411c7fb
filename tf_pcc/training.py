"""The second API: a model whose own train_step clips per core.

One class, long by the methods that Keras calls.
"""

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_pcc import functional_models, inner_optimizers, microbatches, replicas
from tf_pcc.clipping_spec import Clipping
from tf_pcc.monitoring import ClippingMonitor
from tf_pcc.optimizer import PerCoreClipping
from tf_pcc.units import WholeBatch


@keras.saving.register_keras_serializable("tf_pcc")
class PerCoreModel(keras.Model):
  """A `keras.Model` that clips each core's gradient in its train_step.

  Use it as `keras.Model`: `PerCoreModel(inputs, outputs)`, or subclass it and
  write `call` and `compute_loss`. `fit`, `evaluate`, `save` work as always, and
  `train_step` works in a loop of one's own under `strategy.run`.

  `compute_loss(x, y, y_pred, sample_weight, training)` returns the MEAN loss
  over this core's own examples, whatever the number of cores: unlike in
  `keras.Model`, a loss written as a plain mean is right under a strategy too,
  and `super().compute_loss(...)` may be added to it.

  `compile` wraps the optimizer in a `tf_pcc.PerCoreClipping`, so both APIs
  share one clipper and one checkpoint format.

  Example:

  >>> import tf_pcc
  >>> class Regressor(tf_pcc.PerCoreModel):
  ...   def __init__(self):
  ...     super().__init__()
  ...     self.dense = keras.layers.Dense(1)
  ...
  ...   def call(self, x, training=False):
  ...     return self.dense(x)
  ...
  ...   def compute_loss(
  ...     self, x, y, y_pred, sample_weight=None, training=True
  ...   ):
  ...     return tf.reduce_mean(tf.square(y - y_pred))
  >>> strategy = tf.distribute.get_strategy()  # or a TPUStrategy
  >>> with strategy.scope():
  ...   model = Regressor()
  ...   model.compile(
  ...     optimizer="adam",
  ...     clipping=tf_pcc.Clipping(bound=tf_pcc.MinBound(), microbatches=2),
  ...   )
  >>> x, y = tf.ones([8, 2]), tf.ones([8, 1])
  >>> history = model.fit(x, y, batch_size=4, verbose=0)
  >>> "clip_bound" in history.history
  True

  References: Wang et al., Interspeech 2024, arXiv 2406.02004; Wang, ICLR 2025,
  arXiv 2408.16204 (micro-batches).
  """

  def __new__(cls, *args, **kwargs):
    functional = len(args) == 2 or "outputs" in kwargs
    if functional and not issubclass(cls, functional_models.base()):
      # keras.Model would rewrite the bases of `cls`, and so of every other
      # PerCoreModel; a subclass of both leaves them alone.
      twin = functional_models.twin(cls)  # pyright: ignore[reportArgumentType]
      return super().__new__(twin)
    return super().__new__(cls)

  def compile(
    self,
    optimizer: keras.optimizers.Optimizer | str = "rmsprop",
    loss: Any = None,
    clipping: Clipping | None = None,
    **kwargs: Any,
  ) -> None:
    """Configures the model for training.

    Args:
      optimizer: a Keras optimizer or its name, as in `keras.Model.compile`.
      loss: as in `keras.Model.compile`.
      clipping: `tf_pcc.Clipping`, or None to train as `keras.Model` does.
      **kwargs: as in `keras.Model.compile`.

    Raises:
      ValueError: If `clipping` is not a `Clipping`, or both the optimizer and
        the model are to clip, under float16 loss scaling, or with an optimizer
        of another library.
    """
    inner_optimizers.check_library(optimizer)
    optimizer = keras.optimizers.get(optimizer)
    if clipping is not None:
      if not isinstance(clipping, Clipping):
        raise ValueError(
          "clipping must be a tf_pcc.Clipping or None. "
          f"Received: clipping={clipping!r}"
        )
      if isinstance(optimizer, PerCoreClipping):
        raise ValueError(
          "The gradient would be clipped twice: give either a "
          "PerCoreClipping optimizer or clipping=, not both. "
          f"Received: optimizer={optimizer.name!r}, clipping={clipping!r}"
        )
    # Keras records what it is given here, so a saved model holds the user's
    # optimizer and the clipping apart.
    super().compile(optimizer=optimizer, loss=loss, **kwargs)
    if clipping is not None:
      self.optimizer = PerCoreClipping.from_clipping(self.optimizer, clipping)
    self._clipping = clipping

  def get_compile_config(self) -> dict[str, Any] | None:
    """What `compile` was given, for saving."""
    config = super().get_compile_config()
    if config and self._clipping is not None:
      config["clipping"] = keras.saving.serialize_keras_object(self._clipping)
    return config

  def compile_from_config(self, config: dict[str, Any]) -> None:
    """Compiles as the saved model was, and builds the optimizer's state.

    Args:
      config: what `get_compile_config` returned.
    """
    self.compile(**keras.saving.deserialize_keras_object(config))
    if self.built and self.optimizer is not None:
      self.optimizer.build(self.trainable_variables)

  def fit(
    self,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: str | int = "auto",
    callbacks: Any = None,
    **kwargs: Any,
  ) -> keras.callbacks.History:
    """`keras.Model.fit`, with the clipping's statistics in the logs.

    Args:
      x: as in `keras.Model.fit`.
      y: as in `keras.Model.fit`.
      batch_size: as in `keras.Model.fit`.
      epochs: as in `keras.Model.fit`.
      verbose: as in `keras.Model.fit`.
      callbacks: as in `keras.Model.fit`. A `tf_pcc.ClippingMonitor` is put
        first when the model clips and none is among them.
      **kwargs: as in `keras.Model.fit`.

    Returns:
      `keras.callbacks.History`.
    """
    if self._clipping is not None and not isinstance(
      callbacks, keras.callbacks.CallbackList
    ):
      callbacks = list(keras.tree.flatten(callbacks)) if callbacks else []
      if not any(isinstance(c, ClippingMonitor) for c in callbacks):
        callbacks.insert(0, ClippingMonitor())
    return super().fit(
      x=x,
      y=y,
      batch_size=batch_size,
      epochs=epochs,
      verbose=verbose,
      callbacks=callbacks,
      **kwargs,
    )

  def compute_loss(
    self,
    x: Any = None,
    y: Any = None,
    y_pred: Any = None,
    sample_weight: Any = None,
    training: bool = True,
  ) -> tf.Tensor:
    """The mean loss over this core's own examples.

    Args:
      x: inputs, as the dataset yields them.
      y: targets.
      y_pred: what `call` returned.
      sample_weight: None or float [b].
      training: bool.

    Returns:
      Float scalar. By default the loss given to `compile` plus what layers
      added.
    """
    loss = super().compute_loss(x, y, y_pred, sample_weight, training)
    return replicas.unscale_loss(loss)

  def train_step(self, data: Any) -> dict[str, tf.Tensor]:
    """One step on this core's batch; runs in replica context.

    Args:
      data: x, (x, y) or (x, y, sample_weight).

    Returns:
      dict of the metrics' results so far.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    clipping = self._clipping
    if clipping is None or clipping.microbatches == 1:
      loss, gradients, y_pred = self._gradients(x, y, sample_weight)
      if clipping is None:
        self.optimizer.apply(gradients, self.trainable_variables)
      else:
        self.optimizer.apply_units(
          WholeBatch(gradients, self.optimizer.mean_scale),
          self.trainable_variables,
          _rows(x),
        )
    else:
      loss, y_pred = self._microbatch_step(clipping, x, y, sample_weight)
    rows = _rows(x)
    if clipping is not None:
      # A core without a finite loss is dead: it is in no update either.
      finite = tf.math.is_finite(loss)
      loss, rows = (tf.where(finite, v, tf.zeros_like(v)) for v in (loss, rows))
    self._track_loss(loss, rows)
    return self._results(x, y, y_pred, sample_weight)

  def get_metrics_result(self) -> dict[str, Any]:
    """The metrics so far; the loss is NaN where no core had a finite one."""
    results = super().get_metrics_result()
    for metric in self.metrics:
      if metric.name == "loss" and self._clipping is not None:
        count = tf.convert_to_tensor(metric.count)
        results["loss"] = tf.where(count > 0, results["loss"], np.nan)
    return results

  def test_step(self, data: Any) -> dict[str, tf.Tensor]:
    """One evaluation step; as `train_step` without an update.

    Args:
      data: x, (x, y) or (x, y, sample_weight).

    Returns:
      dict of the metrics' results so far.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y_pred = self._forward(x, training=False)
    loss = self.compute_loss(x, y, y_pred, sample_weight, training=False)
    self._track_loss(loss, _rows(x))
    return self._results(x, y, y_pred, sample_weight)

  def _maybe_symbolic_build(self, iterator=None, **kwargs):
    """Builds on the first batch of this worker alone.

    The one private hook of Keras in this package. `fit` and `evaluate` call it
    before they start, even when everything is built, and it hands the first
    batch, a tuple, to `strategy.reduce`, which takes a tuple on one worker and
    raises ValueError on several (Keras issue 20585). Only shapes are read from
    that batch, so one core's will do.

    No public way keeps `fit` whole. Building beforehand, or a batch that holds
    a None, does not avoid the reduction, and a dataset already distributed goes
    the same way. A loop of our own over the strategy's dataset would have to
    write again what Keras makes of arrays, generators, class weights and
    steps_per_execution, and `keras.callbacks.BackupAndRestore` could not resume
    it: the epoch to go on from reaches the loop in a private attribute only.

    On one worker the call goes through untouched. Without this hook in Keras
    nothing else here changes; tests/multiworker_test.py would tell.
    """
    strategy = self.distribute_strategy
    if iterator is not None and replicas.spans_workers(strategy):
      _, _, batches = next(iter(iterator))
      kwargs["data_batch"] = keras.tree.map_structure(
        lambda v: strategy.experimental_local_results(v)[0], next(batches)
      )
      iterator = None
    super()._maybe_symbolic_build(iterator=iterator, **kwargs)

  def _gradients(self, x, y, sample_weight):
    """Mean loss, gradients of the loss as Keras scales it, and outputs."""
    with tf.GradientTape() as tape:
      y_pred = self._forward(x, training=True)
      loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
      scaled = self.optimizer.scale_loss(replicas.scale_loss(loss))
    gradients = tape.gradient(scaled, self.trainable_variables)
    return loss, gradients, y_pred

  def _microbatch_step(self, clipping, x, y, sample_weight):
    count = clipping.microbatches
    # Outputs are kept only where a metric of compile() wants them.
    wanted = self._has_compiled_metrics()
    parts = microbatches.split((x, y, sample_weight), count)
    if not self.built:
      # The loop must know its variables before it runs.
      first = keras.tree.map_structure(
        lambda t: None if t is None else t[0], parts[0]
      )
      self._forward(first, training=False)

    def gradients_of(part):
      loss, gradients, y_pred = self._gradients(*part)
      return loss, gradients, y_pred if wanted else ()

    units, loss, outputs = microbatches.units(
      gradients_of,
      parts,
      variables=self.trainable_variables,
      scale=self.optimizer.mean_scale,
      bound=clipping.bound.local_bound(self.optimizer.normalizes),
      with_unclipped=clipping.track_cosine,
      spec=self._output_spec(parts[0]) if wanted else (),
      normalize=self.optimizer.normalizes,
    )
    self.optimizer.apply_units(units, self.trainable_variables, _rows(x))
    return loss, microbatches.join(outputs) if wanted else None

  def _has_compiled_metrics(self):
    return any(m.name == "compile_metrics" for m in self.metrics)

  def _output_spec(self, stacked):
    symbols = keras.tree.map_structure(
      lambda t: keras.KerasTensor(t.shape[1:], t.dtype.name), stacked
    )
    return keras.tree.map_structure(
      lambda t: tf.TensorSpec(t.shape, t.dtype),
      self.compute_output_spec(symbols),
    )

  def _forward(self, x, training):
    if "training" in inspect.signature(self.call).parameters:
      return self(x, training=training)
    return self(x)

  def _track_loss(self, loss, rows):
    tracker = next(m for m in self.metrics if m.name == "loss")
    tracker.update_state(loss, sample_weight=rows)

  def _results(self, x, y, y_pred, sample_weight):
    if y_pred is None:
      results = self.get_metrics_result()
    else:
      results = self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
    if replicas.spans_workers():
      # Keras averages logs over workers along their first axis.
      results = {name: value[None] for name, value in results.items()}
    return results


def _rows(x):
  """Number of examples of this core's batch, as a tensor."""
  first = next(t for t in keras.tree.flatten(x) if t is not None)
  return tf.cast(tf.shape(first)[0], tf.float32)

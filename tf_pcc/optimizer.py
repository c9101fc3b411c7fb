"""The first API: per-core clipping for stock `model.compile` / `model.fit`.

One class, long because it forwards the whole interface of a Keras optimizer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tf_pcc import bounds, inner_optimizers, normalization, replicas
from tf_pcc import clipping as clipping_lib
from tf_pcc.clipper import Clipper
from tf_pcc.clipping_spec import Clipping
from tf_pcc.units import Units, WholeBatch


@keras.saving.register_keras_serializable("tf_pcc")
class PerCoreClipping(keras.optimizers.Optimizer):
  """Clips each core's gradient before the cores are added up.

  Wraps any Keras optimizer. Under a tf.distribute strategy a core is a replica;
  without one there is one core.

  Learning rate, schedules, `iterations`, weight decay and averages belong to
  the inner optimizer and are reached through this one. A step in which no core
  has a live gradient changes nothing, `iterations` included.

  Args:
    inner_optimizer: a `keras.optimizers.Optimizer` or its name.
    bound: `tf_pcc.FixedBound` (PCC), `MinBound` (APCC), `QuantileBound`,
      `RunningBound`, or a number above zero.
    batch_clip_norm: None or a number above zero, see `tf_pcc.Clipping`.
    dead_cores: "fixed" or "live", see `tf_pcc.Clipping`.
    core_weights: "equal" only. An optimizer does not see how many examples a
      core had; `tf_pcc.PerCoreModel` does.
    track_cosine: see `tf_pcc.Clipping`.
    normalize: "auto", True or False: whether the update is divided by the bound
      of the step; see `tf_pcc.Clipping` for what it does to the learning rate.
    name: str.

  Raises:
    ValueError: If an argument is outside its range, or the inner optimizer's
      own options contradict per-core clipping: `clipnorm`, `global_clipnorm`,
      `clipvalue`, `gradient_accumulation_steps`, loss scaling for float16, or a
      second `PerCoreClipping`.

  Example:

  >>> import tensorflow as tf, tf_pcc
  >>> strategy = tf.distribute.get_strategy()  # or a TPUStrategy
  >>> with strategy.scope():
  ...   model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
  ...   optimizer = tf_pcc.PerCoreClipping(
  ...     keras.optimizers.AdamW(1e-3), bound=tf_pcc.FixedBound(2.5)
  ...   )
  ...   model.compile(optimizer, loss="mse")
  >>> x, y = tf.ones([8, 2]), tf.ones([8, 1])
  >>> history = model.fit(x, y, batch_size=4, verbose=0)
  >>> optimizer.statistics()["clip_bound"]
  2.5

  Reference: Wang et al., Interspeech 2024, arXiv 2406.02004.
  """

  def __init__(
    self,
    inner_optimizer: keras.optimizers.Optimizer | str,
    bound: bounds.Bound | float,
    batch_clip_norm: float | None = None,
    dead_cores: str = "fixed",
    core_weights: str = "equal",
    track_cosine: bool = False,
    normalize: bool | str = "auto",
    name: str = "per_core_clipping",
  ):
    if core_weights == "examples":
      raise ValueError(
        'core_weights="examples" needs the number of examples of each core, '
        "which an optimizer does not see: use tf_pcc.PerCoreModel. "
        f"Received: core_weights={core_weights!r}"
      )
    self._setup(
      inner_optimizer,
      Clipping(
        bound=bound,
        batch_clip_norm=batch_clip_norm,
        dead_cores=dead_cores,
        core_weights=core_weights,
        track_cosine=track_cosine,
        normalize=normalize,
      ),
      name,
    )

  @classmethod
  def from_clipping(
    cls,
    inner_optimizer: keras.optimizers.Optimizer | str,
    clipping: Clipping,
    name: str = "per_core_clipping",
  ) -> "PerCoreClipping":
    """The optimizer `tf_pcc.PerCoreModel` makes of its `clipping` argument.

    Args:
      inner_optimizer: a `keras.optimizers.Optimizer` or its name.
      clipping: `tf_pcc.Clipping`.
      name: str.

    Returns:
      A `PerCoreClipping`.
    """
    optimizer = cls.__new__(cls)
    optimizer._setup(inner_optimizer, clipping, name)
    return optimizer

  def _setup(self, inner_optimizer, clipping, name):
    super().__init__(learning_rate=0.0, name=name)
    inner_optimizers.check_library(inner_optimizer)
    inner = keras.optimizers.get(inner_optimizer)
    if isinstance(inner, PerCoreClipping):
      raise ValueError(
        "inner_optimizer must not clip per core itself. "
        f"Received: inner_optimizer={type(inner).__name__}"
      )
    self.inner_optimizer = inner_optimizers.checked(inner)
    self.clipping = clipping
    self._clipper = Clipper(clipping)
    # The clipper's variables are hidden from tf.train.Checkpoint, which would
    # restore them by shape; this attribute saves them instead.
    self._clipper_checkpoint = self._clipper.checkpoint_state

  def build(self, var_list: Sequence[keras.Variable]) -> None:
    if keras.config.dtype_policy().name == "mixed_float16" or any(
      v.dtype == "float16" for v in var_list
    ):
      raise ValueError(
        "Per-core clipping does not train in float16: Keras 3 scales the loss "
        "there and lets one replica decide for all whether a step is finite. "
        "Use the mixed_bfloat16 policy. "
        f"Received: dtype_policy={keras.config.dtype_policy().name!r}"
      )
    if replicas.count() > 1 and self.inner_optimizer.ema_overwrite_frequency:
      raise ValueError(
        "ema_overwrite_frequency does not work under a strategy of several "
        "replicas in Keras 3. Leave it None and use "
        "keras.callbacks.SwapEMAWeights. Received: ema_overwrite_frequency="
        f"{self.inner_optimizer.ema_overwrite_frequency}"
      )
    # What has no meaning raises here, and not in the first step.
    logging.info(
      "%r: the update is %s by the bound",
      self.clipping.bound,
      "divided" if self.normalizes else "not divided",
    )
    if not self.inner_optimizer.built:
      self.inner_optimizer.build(var_list)
    self._clipper.build()
    super().build(var_list)

  def apply(
    self,
    grads: Sequence[Any],
    trainable_variables: Sequence[keras.Variable] | None = None,
  ) -> None:
    """Clips this core's gradients, adds up the cores, takes the step.

    Args:
      grads: list of this core's gradients, of the loss as Keras scales it:
        mean gradient times 1/R. Dense tensors, `tf.IndexedSlices` or None.
      trainable_variables: list of the variables they belong to; optional once
        the optimizer is built.

    Raises:
      RuntimeError: If called in cross-replica context.
    """
    self._build_once(trainable_variables)
    replicas.require_replica_context("PerCoreClipping.apply")
    self.apply_units(WholeBatch(grads, self.mean_scale), trainable_variables)

  @property
  def mean_scale(self) -> float:
    """A core's mean gradient over the gradient the tape yields."""
    return replicas.count() / (self.inner_optimizer.loss_scale_factor or 1.0)

  @property
  def normalizes(self) -> bool:
    """Whether the update is divided by the bound, under the current strategy.

    Raises:
      ValueError: If `normalize=True` has no meaning there: see
        `normalization.resolve`.
    """
    return normalization.resolve(
      self.clipping.normalize,
      self.clipping.bound,
      self.inner_optimizer,
      replicas.count() * self.clipping.microbatches,
    )

  def apply_units(
    self,
    units: Units,
    trainable_variables: Sequence[keras.Variable] | None = None,
    examples: tf.Tensor | None = None,
  ) -> None:
    """The step of both APIs.

    Args:
      units: `tf_pcc.units.WholeBatch` or a set of micro-batches.
      trainable_variables: as in `apply`.
      examples: float32 scalar, rows of this core's batch; needed with
        core_weights="examples".
    """
    self._build_once(trainable_variables)
    if trainable_variables is None:
      trainable_variables = self._trainable_variables or []
    variables = list(trainable_variables)
    scaling = self._clipper.scaling(units.norms, examples, self.normalizes)
    gradients = units.clipped(scaling.factors, scaling.weights)
    if self.clipping.track_cosine:
      self._clipper.observe_cosine(gradients, units.unclipped(scaling.weights))
    if self.clipping.batch_clip_norm is not None:
      gradients = self._clip_aggregate(gradients)

    def step(gradients):
      self.inner_optimizer.apply(gradients, variables)

    replicas.step_if(
      scaling.any_live,
      step,
      gradients,
      variables + self.inner_optimizer.variables,
      self.inner_optimizer.iterations,
    )

  def _build_once(self, variables):
    if self.built:
      return
    if variables is None:
      raise ValueError(
        "trainable_variables must be given until the optimizer is built. "
        "Received: trainable_variables=None"
      )
    with keras.name_scope(self.name):
      self.build(list(variables))

  def _clip_aggregate(self, gradients):
    """Batch clipping, of what the inner optimizer is about to add up."""
    present = [i for i, g in enumerate(gradients) if g is not None]
    total = replicas.sum_over_cores([gradients[i] for i in present])
    loss_scale = self.inner_optimizer.loss_scale_factor or 1.0
    norm = clipping_lib.global_norm(total) / loss_scale
    factor = clipping_lib.clip_factor(norm, self.clipping.batch_clip_norm)
    # The inner optimizer sums over the cores once more.
    total = clipping_lib.scale(total, factor / replicas.count())
    gradients = list(gradients)
    for i, gradient in zip(present, total):
      gradients[i] = gradient
    return gradients

  def statistics(self) -> dict[str, float]:
    """What the last step looked like; see `Clipper.statistics`.

    Returns:
      dict of Python numbers, to be read on the host between steps.

    Raises:
      ValueError: If the optimizer is not built.
    """
    if not self.built:
      raise ValueError(
        "There are no statistics before the optimizer is built: take a step "
        "or call build(trainable_variables). Received: built=False"
      )
    return self._clipper.statistics()

  @property
  def variables(self) -> list[keras.Variable]:
    """The inner optimizer's variables and the clipper's."""
    return self.inner_optimizer.variables + list(
      self._clipper.variables.values()
    )

  @property
  def learning_rate(self) -> Any:
    return self.inner_optimizer.learning_rate

  @learning_rate.setter
  def learning_rate(self, learning_rate: Any) -> None:
    self.inner_optimizer.learning_rate = learning_rate

  @property
  def iterations(self) -> keras.Variable:
    return self.inner_optimizer.iterations

  def apply_gradients(
    self, grads_and_vars: Iterable[tuple[Any, keras.Variable]]
  ) -> keras.Variable:
    """As `apply`, for (gradient, variable) pairs; returns `iterations`.

    Args:
      grads_and_vars: pairs of a gradient and a variable.

    Returns:
      `iterations`.
    """
    grads, variables = zip(*grads_and_vars)
    self.apply(list(grads), list(variables))
    return self.iterations

  @property
  def loss_scale_factor(self) -> float:
    """1: a static loss scale is the inner optimizer's."""
    # Not None: Keras skips the setter when the value set is the one it has.
    return 1.0

  @loss_scale_factor.setter
  def loss_scale_factor(self, value: float | None) -> None:
    # LossScaleOptimizer takes over an optimizer by setting this to None, also
    # when compile() wraps by itself under mixed_float16.
    if hasattr(self, "clipping"):
      raise ValueError(
        "PerCoreClipping must not be wrapped in a LossScaleOptimizer, which "
        "compile() also does under the mixed_float16 policy: Keras 3 lets one "
        "replica decide for all whether a step is finite. Use mixed_bfloat16. "
        f"Received: loss_scale_factor={value}"
      )

  def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
    """The loss as the inner optimizer scales it.

    Args:
      loss: float scalar.

    Returns:
      float scalar.
    """
    return self.inner_optimizer.scale_loss(loss)

  def finalize_variable_values(
    self, var_list: Sequence[keras.Variable]
  ) -> None:
    """Ends training as the inner optimizer does: with its averages, if it has.

    Args:
      var_list: variables of the model.
    """
    self.inner_optimizer.finalize_variable_values(var_list)

  def exclude_from_weight_decay(
    self,
    var_list: Sequence[keras.Variable] | None = None,
    var_names: Sequence[str] | None = None,
  ) -> None:
    """Leaves variables out of the inner optimizer's weight decay.

    Args:
      var_list: variables of the model.
      var_names: parts of the names of such variables.
    """
    self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

  def save_own_variables(self, store: Any) -> None:
    """Saves the clipper's state by name; Keras saves the inner optimizer.

    Args:
      store: what Keras gives: a mapping from names to arrays.
    """
    for name, value in self._clipper.save().items():
      store[name] = value

  def load_own_variables(self, store: Any) -> None:
    """Loads it, from any number of cores.

    Args:
      store: what Keras gives: a mapping from names to arrays.
    """
    names = list(store.keys())
    self._clipper.load({name: store[name][()] for name in names})

  def get_config(self) -> dict[str, Any]:
    if self.clipping.microbatches > 1:
      raise ValueError(
        "Micro-batches belong to tf_pcc.PerCoreModel, which saves them; this "
        "optimizer alone cannot. "
        f"Received: microbatches={self.clipping.microbatches}"
      )
    config = self.clipping.get_config()
    del config["microbatches"]
    return {
      "inner_optimizer": keras.saving.serialize_keras_object(
        self.inner_optimizer
      ),
      "name": self.name,
      **config,
    }

  @classmethod
  def from_config(
    cls,
    config: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None = None,
  ) -> "PerCoreClipping":
    config = normalization.complete(config)
    config["inner_optimizer"] = keras.saving.deserialize_keras_object(
      config["inner_optimizer"], custom_objects=custom_objects
    )
    return cls(**config)

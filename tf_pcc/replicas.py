"""Everything the package knows about replicas: a "core" is a replica.

The rule this file owns: Keras 3 divides the loss by the number of replicas R,
so a tape yields `g_i / R`, and the optimizer's all-reduce SUMS what the cores
hand it. Everything else in the package works on such gradients and asks here
for what R is, what the other cores' numbers are, and for a step that all cores
take or none.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf


def count() -> int:
  """Number of replicas R in sync under the current strategy, an int."""
  return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id() -> tf.Tensor:
  """This replica's number as an int32 scalar tensor, 0 without a strategy."""
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return tf.constant(0, tf.int32)
  return tf.cast(context.replica_id_in_sync_group, tf.int32)


def on_tpu() -> bool:
  """Whether what is traced now is for a TPU, by the current strategy."""
  return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)


def spans_workers(strategy: tf.distribute.Strategy | None = None) -> bool:
  """Whether a strategy's replicas live in several processes that talk.

  Args:
    strategy: a `tf.distribute.Strategy`, the current one by default.

  Returns:
    False for one process.
  """
  strategy = strategy or tf.distribute.get_strategy()
  resolver = getattr(strategy, "cluster_resolver", None)
  if resolver is None or not isinstance(
    strategy, tf.distribute.MultiWorkerMirroredStrategy
  ):
    return False
  return bool(resolver.cluster_spec().as_dict())


def require_replica_context(what: str) -> None:
  """Raises unless called in replica context, where each core has its gradient.

  Args:
    what: the caller's name, for the message.

  Raises:
    RuntimeError: If called in cross-replica context.
  """
  if tf.distribute.in_cross_replica_context():
    raise RuntimeError(
      f"{what} must be called inside strategy.run(...), where every core has "
      "its own gradient: after aggregation there is nothing left to clip per "
      "core."
    )


def scale_loss(loss: tf.Tensor) -> tf.Tensor:
  """The loss as Keras hands it to the tape: times 1/R.

  Args:
    loss: float scalar, the mean over this core's own examples.

  Returns:
    float scalar of the same dtype.
  """
  replicas = count()
  return loss * tf.cast(1.0 / replicas, loss.dtype) if replicas > 1 else loss


def unscale_loss(loss: tf.Tensor) -> tf.Tensor:
  """The inverse of `scale_loss`: times R.

  Args:
    loss: float scalar, divided by R.

  Returns:
    float scalar.
  """
  replicas = count()
  return loss * tf.cast(replicas, loss.dtype) if replicas > 1 else loss


def gather(values: tf.Tensor) -> tf.Tensor:
  """Every core's values, on every core.

  One small all-reduce of a vector in which each core fills its own slot. The
  slot is selected, never multiplied: another core's NaN stays in its place.

  Args:
    values: float32 [k], this core's numbers.

  Returns:
    float32 [R, k].
  """
  context = tf.distribute.get_replica_context()
  if context.num_replicas_in_sync == 1:
    return values[None]
  cores = tf.range(context.num_replicas_in_sync)
  mine = tf.equal(cores, replica_id())[:, None]
  (total,) = sum_over_cores([tf.where(mine, values[None], 0.0)])
  return total


def sum_over_cores(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
  """All-reduces a list of dense tensors by SUM, without a gradient.

  Args:
    tensors: list of tensors.

  Returns:
    A list of the same shapes and dtypes, equal on all cores.
  """
  context = tf.distribute.get_replica_context()
  if context.num_replicas_in_sync == 1:
    return list(tensors)
  return context.all_reduce(
    tf.distribute.ReduceOp.SUM, without_history(tensors)
  )


def without_history(tensors: Sequence) -> list:
  """The tensors as constants of the gradient: values and shapes are the same.

  `all_reduce` has a custom gradient. While it is traced, TensorFlow looks for
  the variables that its inputs depend on, through the steps of all cores traced
  so far, for every tensor on every core. Here the search ends.

  Args:
    tensors: list of tensors, `tf.IndexedSlices` or `None`.

  Returns:
    A list of the same kinds.
  """

  def stop(tensor):
    if isinstance(tensor, tf.IndexedSlices):
      return tf.IndexedSlices(
        tf.stop_gradient(tensor.values), tensor.indices, tensor.dense_shape
      )
    return None if tensor is None else tf.stop_gradient(tensor)

  return [stop(tensor) for tensor in tensors]


def shared_variable(
  shape: tuple[int, ...], dtype: str, name: str
) -> keras.Variable:
  """A variable that starts at zero and is equal on all cores by construction.

  Its value is computed from gathered numbers, so every core assigns the same.
  One slot a core in such a vector is what carries per-core state through every
  Keras and TensorFlow checkpoint format.

  Args:
    shape: tuple of ints.
    dtype: "float32" or "int32".
    name: str.

  Returns:
    `keras.Variable`, not trainable.
  """
  with tf.init_scope():
    return keras.Variable(
      "zeros",
      shape=shape,
      dtype=dtype,
      trainable=False,
      aggregation="only_first_replica",
      name=name,
    )


def local_variable(shape: tuple[int, ...], name: str) -> tf.Variable:
  """A variable in which every core keeps a value of its own.

  It starts at zero. In replica context reading and assigning it are this core's
  alone and need no communication. Every format of Keras and TensorFlow saves
  such a variable as its aggregate, if at all: what must outlive the process
  belongs in a `shared_variable` too.

  Args:
    shape: tuple of ints.
    name: str.

  Returns:
    float32 `tf.Variable`, not trainable.
  """
  with tf.init_scope():
    return tf.Variable(
      tf.zeros(shape),
      trainable=False,
      synchronization=tf.VariableSynchronization.ON_READ,
      aggregation=tf.VariableAggregation.NONE,
      name=name,
    )


def assign(
  variables: Sequence[keras.Variable], values: Iterable[tf.Tensor]
) -> None:
  """Gives shared variables their new values, without a collective.

  In replica context TPUStrategy answers `variable.assign(value)` with an
  all-to-all that takes the first replica's value: one more wait a variable and
  step, for values that are equal on all cores already.

  Args:
    variables: list from `shared_variable`.
    values: list of tensors, equal on all cores.
  """

  def update(strategy, values):
    for variable, value in zip(variables, values):
      strategy.extended.update(
        variable.value, _assign_copy, args=(value,), group=False
      )

  tf.distribute.get_replica_context().merge_call(update, args=(list(values),))


def _assign_copy(variable, value):
  return variable.assign(value)


@contextlib.contextmanager
def _counted_without_collective(counter: keras.Variable) -> Iterator[None]:
  """`counter.assign_add` assigns on each core, as `assign` does.

  Under TPUStrategy one trace is of all cores; elsewhere each core has a thread,
  all threads would change the same method, and no collective is to be saved.
  """
  if not on_tpu():
    yield
    return

  def assign_add(value):
    assign([counter], [tf.convert_to_tensor(counter) + value])

  # Of the instance, before the class's method.
  counter.assign_add = assign_add
  try:
    yield
  finally:
    del counter.assign_add


def step_if(
  condition: tf.Tensor,
  step: Callable[[Any], None],
  gradients: Sequence[Any],
  variables: Sequence[keras.Variable],
  counter: keras.Variable,
  select: bool | None = None,
) -> None:
  """Takes an optimizer step on all cores, or leaves every variable as it is.

  On CPUs and GPUs the step stands in a branch that is entered in cross-replica
  context, so a skipped step costs nothing. In a TPU program a collective inside
  a branch is not safe to rely on: there the step is taken and its results are
  selected away, which the compiler fuses into the update.

  Args:
    condition: bool scalar tensor, equal on all cores.
    step: function of one argument, the gradients, that applies them.
    gradients: list of tensors, `tf.IndexedSlices` or `None`.
    variables: list of `keras.Variable` that `step` may change.
    counter: one of them, equal on all cores, that `step` counts up by
      `assign_add`; under TPUStrategy without a collective.
    select: True for the TPU's form, False for the branch, None to choose by
      the strategy.
  """
  context = tf.distribute.get_replica_context()
  gradients = without_history(gradients)
  if select is None:
    select = on_tpu()

  if select:
    before = [tf.identity(v.value) for v in variables]
    with _counted_without_collective(counter):
      step(gradients)

    def restore(strategy, condition, before):
      def keep(variable, old, condition):
        return variable.assign(tf.where(condition, variable, old))

      for variable, old in zip(variables, before):
        strategy.extended.update(
          variable.value, keep, args=(old, condition), group=False
        )

    context.merge_call(restore, args=(condition, before))
    return

  def branch(strategy, condition, gradients):
    def take():
      strategy.extended.call_for_each_replica(step, args=(gradients,))

    def leave():
      pass

    # Any core's copy will do, they are equal.
    one = strategy.experimental_local_results(condition)[0]
    tf.cond(one, take, leave)

  context.merge_call(branch, args=(condition, gradients))

"""What the package knows about replicas, on 1, 2 and 8 of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_pcc import replicas

NAN = np.nan
CORES = pytest.mark.parametrize("cores", [1, 2, 8])


def per_core(strategy, function):
  """Runs `function` of the core's number on every core, in one graph."""

  @tf.function
  def run():
    return strategy.run(lambda: function(replicas.replica_id()))

  return strategy.experimental_local_results(run())


@CORES
def test_gather_keeps_every_value_in_its_slot(make_strategy, cores):
  rng = np.random.default_rng(0)
  values = rng.normal(size=(cores, 3)).astype(np.float32)
  values[-1, 1] = NAN
  values[0, 2] = np.inf
  found = per_core(
    make_strategy(cores),
    lambda core: replicas.gather(tf.gather(tf.constant(values), core)),
  )
  assert len(found) == cores
  for result in found:
    np.testing.assert_array_equal(result, values)


@CORES
def test_counts_numbers_and_sums(make_strategy, cores):
  strategy = make_strategy(cores)
  with strategy.scope():
    assert replicas.count() == cores
  numbers = per_core(strategy, lambda core: core)
  assert [int(n) for n in numbers] == list(range(cores))
  sums = per_core(
    strategy,
    lambda core: replicas.sum_over_cores(
      [tf.cast(core, tf.float32) + 1.0, tf.ones((2, 2))]
    )[0],
  )
  for total in sums:
    np.testing.assert_allclose(total, cores * (cores + 1) / 2)


@CORES
def test_loss_scale_is_one_over_the_cores(make_strategy, cores):
  strategy = make_strategy(cores)
  scaled = per_core(strategy, lambda _: replicas.scale_loss(tf.constant(8.0)))
  assert float(scaled[0]) == 8.0 / cores
  both = per_core(
    strategy,
    lambda _: replicas.unscale_loss(replicas.scale_loss(tf.constant(0.3))),
  )
  assert both[0].numpy() == np.float32(0.3)
  half = per_core(
    strategy, lambda _: replicas.scale_loss(tf.constant(1.0, tf.bfloat16))
  )
  assert half[0].dtype == tf.bfloat16


@pytest.mark.parametrize("select", [False, True, None])
@pytest.mark.parametrize("condition", [False, True])
@pytest.mark.parametrize("cores", [1, 2])
def test_step_if(make_strategy, cores, condition, select):
  strategy = make_strategy(cores)
  with strategy.scope():
    w = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    optimizer.build([w])

  @tf.function
  def run(condition):
    def step():
      replicas.step_if(
        condition,
        lambda gradients: optimizer.apply(gradients, [w]),
        [tf.constant([0.25, NAN if select else 0.5])],
        [w, *optimizer.variables],
        optimizer.iterations,
        select=select,
      )

    strategy.run(step)

  run(tf.constant(condition))
  if not condition:
    np.testing.assert_array_equal(w.numpy(), [1, 2])
    for variable in optimizer.variables[2:]:
      np.testing.assert_array_equal(variable.numpy(), [0, 0])
  else:
    second = NAN if select else 2 - 0.5 * cores
    np.testing.assert_array_equal(w.numpy(), [1 - 0.25 * cores, second])
  assert int(optimizer.iterations.numpy()) == int(condition)


def test_replica_context_is_required(make_strategy):
  replicas.require_replica_context("x")
  with (
    make_strategy(2).scope(),
    pytest.raises(
      RuntimeError, match="here must be called inside strategy.run"
    ),
  ):
    replicas.require_replica_context("here")
  per_core(
    make_strategy(2),
    lambda core: replicas.require_replica_context("x") or core,
  )


def test_shared_variable_is_equal_on_all_cores(make_strategy):
  strategy = make_strategy(2)
  with strategy.scope():
    variable = replicas.shared_variable((2,), "float32", "mine")
  per_core(
    strategy,
    lambda core: (
      replicas.assign(
        [variable],
        [replicas.gather(tf.cast(core, tf.float32)[None] + 5.0)[:, 0]],
      )
      or core
    ),
  )
  for copy in strategy.experimental_local_results(variable.value):
    np.testing.assert_array_equal(copy, [5, 6])
  assert not variable.trainable


@CORES
def test_local_variable_is_each_cores_own(make_strategy, cores):
  strategy = make_strategy(cores)
  with strategy.scope():
    variable = replicas.local_variable((2,), "own")

  def step(core):
    variable.assign(variable + [1.0, tf.cast(core, tf.float32)])
    return tf.convert_to_tensor(variable)

  for count in (1, 2):
    for core, found in enumerate(per_core(strategy, step)):
      np.testing.assert_array_equal(found, [count, count * core])
  for core, own in enumerate(strategy.experimental_local_results(variable)):
    np.testing.assert_array_equal(own, [2, 2 * core])


def test_one_process_does_not_span_workers(make_strategy):
  assert not replicas.spans_workers()
  assert not replicas.spans_workers(make_strategy(2))

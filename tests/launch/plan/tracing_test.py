"""The step that launch.train takes, as a TPU's program."""

import pytest
import tensorflow as tf

import tf_pcc
from launch.plan import bridge, dataflow, tracing
from tests.launch.plan import recognisers

CORES = recognisers.CORES
# Keras broadcasts the step counter from core 0; this package does not.
STOCK = ("AllToAll", (CORES,))


def check(function, model, microbatches=1):
  """What holds for every step of ours; returns the collectives."""
  shapes = [v.shape for v in model.trainable_variables]
  found = dataflow.collectives(function, len(shapes))
  gradients, rest = dataflow.split(found, shapes)
  assert len(gradients) == len(shapes)
  assert all(c.clip_before for c in gradients)
  assert not any(c.clip_after for c in gradients)
  # All cores' norms, one small sum, and nothing else of ours.
  columns = 2 * microbatches
  if clipping := getattr(model.optimizer, "clipping", None):
    # What the cores remember of their norms goes the same way.
    columns += len(clipping.bound.state_names) * microbatches
  norms = [c for c in rest if c.shape == (CORES, columns)]
  assert len(norms) == 1
  assert norms[0].bytes == 4 * CORES * columns
  assert not norms[0].waits_for
  assert not tracing.foreign_resources(function, CORES)
  module = bridge.run(function)
  assert module.count('"tf.CrossReplicaSum"') == sum(
    c.kind == "CrossReplicaSum" for c in found
  )
  assert bridge.suspects(module) == {}
  rest.remove(norms[0])
  return gradients, norms[0], rest


@pytest.mark.parametrize(
  "bound",
  [tf_pcc.FixedBound(2.5), tf_pcc.MinBound(), tf_pcc.RunningBound()],
  ids=lambda bound: type(bound).__name__,
)
@pytest.mark.parametrize(
  ("api", "microbatches"), [("model", 1), ("model", 2), ("optimizer", 1)]
)
def test_clip_before_the_sum(api, bound, microbatches):
  strategy = tracing.tpu_strategy(CORES)
  options = {"microbatches": microbatches} if microbatches > 1 else {}
  model = recognisers.compiled(strategy, api, bound, **options)
  batches = recognisers.five_steps()[0]
  function, _ = recognisers.traced(strategy, model, batches)
  gradients, norms, rest = check(function, model, microbatches)
  assert not rest
  # The counter's own method is back.
  assert "assign_add" not in vars(model.optimizer.inner_optimizer.iterations)
  waits = set().union(*(c.waits_for for c in gradients))
  # A bound that depends on all norms must know them; a fixed one waits not.
  fixed = isinstance(bound, tf_pcc.FixedBound)
  assert waits == (set() if fixed else {norms.name})


@pytest.mark.parametrize(
  ("bound", "microbatches", "waits"),
  [
    (tf_pcc.MinBound(), 1, False),
    # Nor are the micro-batches kept for it.
    (tf_pcc.MinBound(), 2, False),
    (tf_pcc.FixedBound(2.5), 1, False),
    (tf_pcc.QuantileBound(), 1, True),
    (tf_pcc.RunningBound(), 2, True),
  ],
  ids=str,
)
def test_divided_by_the_bound(bound, microbatches, waits):
  """No collective more; by the smallest norm, no gradient waits for another."""
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.compiled(
    strategy, "model", bound, microbatches=microbatches, normalize=True
  )
  batches = recognisers.five_steps()[0]
  function, _ = recognisers.traced(strategy, model, batches)
  gradients, norms, rest = check(function, model, microbatches)
  assert rest == []
  found = set().union(*(c.waits_for for c in gradients))
  assert found == ({norms.name} if waits else set())


def test_batch_clipping_comes_after_a_sum_of_its_own():
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.compiled(
    strategy, "model", tf_pcc.FixedBound(2.5), batch_clip_norm=1.0
  )
  batches = recognisers.five_steps()[0]
  function, _ = recognisers.traced(strategy, model, batches)
  gradients, _, rest = check(function, model)
  aggregated = [c for c in rest if c.kind == "CrossReplicaSum"]
  assert sorted(c.shape for c in aggregated) == sorted(
    c.shape for c in gradients
  )
  assert all(c.clip_before and c.clip_after for c in aggregated)
  names = {c.name for c in aggregated}
  assert all(c.waits_for == names for c in gradients)
  assert not any(c.waits_for for c in aggregated)


def test_without_clipping_there_is_none():
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.compiled(strategy, "model", None)
  batches = recognisers.five_steps()[0]
  function, _ = recognisers.traced(strategy, model, batches)
  shapes = [v.shape for v in model.trainable_variables]
  found = dataflow.collectives(function, len(shapes))
  gradients, rest = dataflow.split(found, shapes)
  assert len(gradients) == len(shapes)
  assert not any(c.clip_before or c.clip_after for c in found)
  assert [(c.kind, c.shape) for c in rest] == [STOCK]


CONFORMERS = [
  tf_pcc.Clipping(tf_pcc.MinBound()),
  tf_pcc.Clipping(tf_pcc.FixedBound(2.5), microbatches=2),
]
MORE_CONFORMERS = [
  tf_pcc.Clipping(tf_pcc.FixedBound(2.5)),
  tf_pcc.Clipping(tf_pcc.RunningBound(), microbatches=2),
  tf_pcc.Clipping(tf_pcc.QuantileBound(), dead_cores="live"),
  tf_pcc.Clipping(tf_pcc.MinBound(), core_weights="examples"),
]


@pytest.mark.parametrize(
  "clipping",
  [
    *CONFORMERS,
    *(pytest.param(c, marks=pytest.mark.slow) for c in MORE_CONFORMERS),
  ],
  ids=lambda c: f"{type(c.bound).__name__}-{c.microbatches}",
)
def test_the_conformer(clipping):
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.conformer(strategy, clipping)
  batches = [recognisers.speech(core) for core in range(CORES)]
  function, _ = recognisers.traced(strategy, model, batches)
  _, _, rest = check(function, model, clipping.microbatches)
  assert not rest


def test_a_variable_outside_the_scope_is_found():
  strategy = tracing.tpu_strategy(CORES)
  with strategy.scope():
    inside = tf.Variable(1.0)
  outside = tf.Variable(2.0)
  data = tracing.distribute(strategy, [1.0] * CORES)

  def foreign(step):
    function = tracing.trace(strategy, step, data)
    # The bridge has nothing against it.
    assert bridge.suspects(bridge.run(function)) == {}
    return tracing.foreign_resources(function, CORES)

  assert foreign(lambda x: x * inside) == []
  assert len(foreign(lambda x: x * inside * outside)) == 1


@pytest.mark.parametrize("cores", [0, 9])
def test_cores_need_devices(cores):
  with pytest.raises(
    ValueError, match=f"cores must be between 1 and 8.*Received: cores={cores}"
  ):
    tracing.tpu_strategy(cores)

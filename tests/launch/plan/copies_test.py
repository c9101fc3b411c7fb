"""The traced TPU program computes what NumPy says the method is."""

import keras
import pytest

import tf_pcc
from launch.plan import copies, tracing
from tests import reference
from tests.launch.plan import recognisers

BOUNDS = {
  "fixed": (lambda: tf_pcc.FixedBound(0.8), {"norm": 0.8}),
  "min": (tf_pcc.MinBound, {}),
  "running": (
    lambda: tf_pcc.RunningBound(0.5),
    {"decay": 0.5, "statistic": "min"},
  ),
}


def run(model, steps, strategy):
  """Executes the traced train_step; returns the weights before."""
  before = [w.numpy() for w in model.trainable_variables]
  function, _ = recognisers.traced(strategy, model, steps[0])
  step = copies.executable(function, recognisers.CORES)
  for batches in steps:
    step(tracing.distribute(strategy, batches))
  return before


@pytest.mark.parametrize(
  ("api", "kind", "options"),
  [
    ("model", "min", {}),
    ("model", "fixed", {"microbatches": 2, "batch_clip_norm": 0.3}),
    ("model", "running", {"microbatches": 2}),
    ("optimizer", "fixed", {}),
    ("optimizer", "running", {"batch_clip_norm": 0.3}),
    ("optimizer", "min", {"normalize": True, "batch_clip_norm": 0.3}),
    ("model", "min", {"normalize": True, "microbatches": 2}),
    ("model", "running", {"normalize": True, "dead_cores": "live"}),
  ],
)
def test_five_steps_equal_numpy(api, kind, options):
  strategy = tracing.tpu_strategy(recognisers.CORES)
  make_bound, numbers = BOUNDS[kind]
  model = recognisers.compiled(strategy, api, make_bound(), **options)
  steps = recognisers.five_steps()
  before = run(model, steps, strategy)
  expected = recognisers.numpy_training(
    recognisers.Recogniser(*recognisers.layers()),
    before,
    steps,
    reference.Bound(kind, **numbers),
    options.get("microbatches", 1),
    options.get("batch_clip_norm"),
    options.get("normalize", False),
    options.get("dead_cores", "fixed"),
  )
  assert recognisers.differences(model, before) > 0.01
  assert recognisers.differences(model, expected) < 1e-6
  # The step without a live core changed nothing and was counted.
  assert int(model.optimizer.iterations.numpy()) == 4
  assert model.optimizer.statistics()["skipped_steps"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
  ("kind", "options"), [("min", {}), ("fixed", {"microbatches": 2})]
)
def test_the_conformer_equals_numpy(kind, options):
  strategy = tracing.tpu_strategy(recognisers.CORES)
  make_bound, numbers = BOUNDS[kind]
  model = recognisers.conformer(
    strategy,
    tf_pcc.Clipping(make_bound(), **options),
    recognisers.SILENT,
  )
  steps = recognisers.five_steps(recognisers.speech)
  before = run(model, steps, strategy)
  expected = recognisers.numpy_training(
    recognisers.conformer(recognisers.one_core(), None, recognisers.SILENT),
    before,
    steps,
    reference.Bound(kind, **numbers),
    options.get("microbatches", 1),
  )
  assert recognisers.differences(model, before) > 0.01
  assert recognisers.differences(model, expected) < 1e-6


def test_global_clipnorm_is_another_bound():
  """Keras 3 clips each core's share of the gradient, g_i / R, to the norm."""
  strategy = tracing.tpu_strategy(recognisers.CORES)
  model = recognisers.compiled(
    strategy,
    "stock",
    None,
    lambda: keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.2),
  )
  steps = recognisers.five_steps()[:2]
  before = run(model, steps, strategy)

  def pcc(norm):
    return recognisers.numpy_training(
      recognisers.Recogniser(*recognisers.layers()),
      before,
      steps,
      reference.Bound("fixed", norm=norm),
    )

  assert recognisers.differences(model, pcc(0.2)) > 1e-3
  scaled = pcc(0.2 * recognisers.CORES)
  assert recognisers.differences(model, scaled) < 1e-6

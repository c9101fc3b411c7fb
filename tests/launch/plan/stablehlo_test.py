"""The step as XLA gets it, and what XLA computes with it on four devices."""

import re

import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from launch.plan import bridge, environment, stablehlo, tracing
from tests import reference
from tests.launch.plan import recognisers

CORES = recognisers.CORES


@pytest.fixture
def xla():
  if not environment.is_ready():
    pytest.skip("no JAX here: python -m launch.plan --setup installs it")


def run_on_devices(function, steps, folder):
  """Takes the steps on XLA's CPU devices; updates all cores' variables."""
  module = bridge.run(function)
  text = stablehlo.convert(module)
  kinds = stablehlo.arguments(module)
  (folder / "step.mlir").write_text(text)
  handles = function.captured_inputs
  for batches in steps:
    data = [
      leaf for leaves in zip(*map(tf.nest.flatten, batches)) for leaf in leaves
    ]
    given = []
    for kind, number in kinds:
      if kind == "core":
        given.append(np.arange(CORES, dtype=np.int32))
      elif kind == "data":
        given.append(np.stack(data[number : number + CORES]))
      else:
        given.append(
          np.stack([read(h) for h in handles[number : number + CORES]])
        )
    np.savez(folder / "in.npz", *given)
    environment.run_on_cpu(
      folder / "step.mlir", CORES, folder / "in.npz", folder / "out.npz"
    )
    with np.load(folder / "out.npz") as results:
      for argument, result in stablehlo.aliases(text).items():
        kind, number = kinds[argument]
        assert kind == "variable"
        for handle, value in zip(handles[number:], results[f"arr_{result}"]):
          tf.raw_ops.AssignVariableOp(resource=handle, value=value)


def read(handle):
  dtype = tf.as_dtype(handle._handle_data.shape_and_type[0].dtype)
  return tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype).numpy()


@pytest.mark.parametrize(
  ("bound", "numbers", "options"),
  [
    (tf_pcc.MinBound(), ("min", {}), {}),
    (tf_pcc.FixedBound(0.8), ("fixed", {"norm": 0.8}), {"microbatches": 2}),
  ],
)
def test_four_devices_equal_numpy(xla, tmp_path, bound, numbers, options):
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.compiled(strategy, "model", bound, **options)
  # Core 1 is broken.
  steps = recognisers.five_steps()[2:3]
  function, _ = recognisers.traced(strategy, model, steps[0])
  before = [w.numpy() for w in model.trainable_variables]
  run_on_devices(function, steps, tmp_path)
  kind, values = numbers
  expected = recognisers.numpy_training(
    recognisers.Recogniser(*recognisers.layers()),
    before,
    steps,
    reference.Bound(kind, **values),
    options.get("microbatches", 1),
  )
  assert recognisers.differences(model, before) > 0.01
  assert recognisers.differences(model, expected) < 1e-6
  assert int(model.optimizer.iterations.numpy()) == 1


def test_constants_of_booleans(xla, tmp_path):
  """Larger ones are packed to bits by one MLIR, and not by another."""
  mask = np.random.default_rng(0).uniform(size=[25, 13]) < 0.5
  strategy = tracing.tpu_strategy(CORES)
  with strategy.scope():
    total = tf.Variable(tf.zeros([25, 13]))

  def step(x):
    total.assign(tf.where(mask, x, -x))

  batches = [np.full([25, 13], 1.0 + c, np.float32) for c in range(CORES)]
  data = tracing.distribute(strategy, batches)
  run_on_devices(tracing.trace(strategy, step, data), [batches], tmp_path)
  for copy, given in zip(total.values, batches):
    np.testing.assert_array_equal(copy, np.where(mask, given, -given))


def test_the_conformer_has_a_form():
  strategy = tracing.tpu_strategy(CORES)
  model = recognisers.conformer(strategy, tf_pcc.Clipping(tf_pcc.MinBound()))
  batches = [recognisers.speech(core) for core in range(CORES)]
  function, _ = recognisers.traced(strategy, model, batches)
  module = bridge.run(function)
  text = stablehlo.convert(module)
  kinds = stablehlo.arguments(module)
  assert (
    sorted(k for k, _ in kinds if k != "variable") == ["core"] + ["data"] * 4
  )
  # Every trainable variable and its momentum is updated in place.
  assert len(stablehlo.aliases(text)) >= 2 * len(model.trainable_variables)
  sums = len(re.findall('"stablehlo.cross-replica-sum"', text))
  assert sums == len(model.trainable_variables) + 1
  assert "tensor<?" not in text


def test_many_cores_need_two_copies_only():
  """The program is the one traced with a copy a core, line by line."""
  texts = []
  for copies in (CORES, 2):
    strategy = tracing.tpu_strategy(CORES, copies)
    model = recognisers.compiled(strategy, "model", tf_pcc.MinBound())

    def step(data, model=model):
      model.train_step(data)

    data = tf.nest.map_structure(
      lambda a: tf.TensorSpec(a.shape, a.dtype), recognisers.frames(0)
    )
    function = tracing.trace(strategy, step, data)
    module = bridge.run(function)
    assert bridge.suspects(module) == {}
    text = stablehlo.convert(module)
    # Functions' names, which count on, are in the locations.
    texts.append(re.sub(r"(?m) ?loc\(.*\)$|^#loc.*\n", "", text))
  assert texts[0] == texts[1]
  assert "replica_groups = dense<[[0, 1, 2, 3]]>" in texts[1]


def test_an_op_without_a_form():
  strategy = tracing.tpu_strategy(CORES)
  frames = np.ones([1, 1, 2], np.float32)
  data = tracing.distribute(strategy, [frames] * CORES)

  def step(x):
    return tf.nn.ctc_greedy_decoder(x, [1])[1]

  with pytest.raises(bridge.Rejected, match="CTCGreedyDecoder"):
    stablehlo.convert(bridge.run(tracing.trace(strategy, step, data)))

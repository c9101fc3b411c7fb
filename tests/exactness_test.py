"""Both APIs against NumPy, five steps on random networks."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import reference
from tests.apis import handed_out

NETWORKS = ("dense", "convolution", "lstm", "embedding", "tied")
BOUNDS = {
  "fixed": (tf_pcc.FixedBound(0.7), {"kind": "fixed", "norm": 0.7}),
  "min": (tf_pcc.MinBound(), {"kind": "min"}),
  "quantile": (
    tf_pcc.QuantileBound(0.3),
    {"kind": "quantile", "quantile": 0.3},
  ),
  "running": (
    tf_pcc.RunningBound(0.8, "mean"),
    {"kind": "running", "decay": 0.8, "statistic": "mean"},
  ),
}
STEPS = 5
PER_CORE = 4
# Batch clipping after.
BATCH = {"batch_clip_norm": 0.2}


def relative_error(found, expected):
  """Largest error of a variable over the size of that variable."""
  return max(
    np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)
    for a, b in zip(found, expected)
  )


def run(
  make_strategy,
  kind,
  cores,
  policy,
  optimizer,
  bound,
  api,
  microbatches=1,
  batch_clip_norm=None,
  normalize="auto",
):
  """Error of one run after five steps, and how far the weights moved."""
  seed = [ord(c) for c in kind + optimizer + bound + api] + [cores]
  keras.config.set_dtype_policy(policy)
  make_optimizer, numpy_optimizer = reference.OPTIMIZERS[optimizer]
  rule, numpy_rule = BOUNDS[bound]
  numpy_rule = reference.Bound(**numpy_rule)
  numpy_optimizer = type(numpy_optimizer)(numpy_optimizer.rate)

  def network():
    return reference.network(kind, np.random.default_rng(seed))

  inputs, outputs, draw = network()
  plain = keras.Model(inputs, outputs)
  with make_strategy(cores).scope():
    inputs, outputs, _ = network()
    if api == "optimizer":
      model = keras.Model(inputs, outputs)
      model.compile(
        tf_pcc.PerCoreClipping(
          make_optimizer(),
          rule,
          batch_clip_norm=batch_clip_norm,
          normalize=normalize,
        ),
        loss="mse",
      )
    else:
      model = tf_pcc.PerCoreModel(inputs, outputs)
      model.compile(
        make_optimizer(),
        loss="mse",
        clipping=tf_pcc.Clipping(
          rule,
          microbatches=microbatches,
          batch_clip_norm=batch_clip_norm,
          normalize=normalize,
        ),
      )
  model.set_weights(plain.get_weights())
  start = [w.astype(np.float64) for w in plain.get_weights()]

  x, y = draw(STEPS * cores * PER_CORE)
  data = tf.data.Dataset.from_tensor_slices((x, y))
  trajectory = Trajectory()
  model.fit(
    handed_out(model.distribute_strategy, data, cores * PER_CORE),
    verbose=0,
    callbacks=[trajectory],
  )

  gradients = reference.gradient_function(plain)
  weights = start
  part = PER_CORE // microbatches
  errors = []
  for step in range(STEPS):
    if policy != "float32" and step > 0:
      # Another last bit of a weight is another bfloat16 activation, which says
      # nothing of the clipping: every step starts where the model stood.
      weights = trajectory.weights[step - 1]
    plain.set_weights([w.astype(np.float32) for w in weights])
    rows = range(step * cores * PER_CORE, (step + 1) * cores * PER_CORE, part)
    units = [gradients(x[r : r + part], y[r : r + part]) for r in rows]
    mean = reference.clipped_mean(
      units,
      numpy_rule,
      batch_clip_norm=batch_clip_norm,
      normalize=divides(normalize, optimizer, bound, len(units)),
    )
    weights = numpy_optimizer(weights, mean)
    errors.append(relative_error(trajectory.weights[step], weights))
  return max(errors), relative_error(weights, start)


def divides(normalize, optimizer, bound, units):
  """What "auto" is: Adam, a bound that adapts, something to compare with."""
  if normalize != "auto":
    return normalize
  comparable = bound == "running" or units > 1
  return optimizer == "adam" and bound != "fixed" and comparable


class Trajectory(keras.callbacks.Callback):
  """The weights after every step, in float64."""

  def __init__(self):
    super().__init__()
    self.weights = []

  def on_train_batch_end(self, batch, logs=None):
    self.weights.append(
      [w.astype(np.float64) for w in self.model.get_weights()]
    )


def check(error, moved):
  assert moved > 1e-2
  assert error <= 1e-5


# Every network at every number of cores; the other choices take turns.
TURNS = [
  (kind, cores, *rest)
  for (kind, cores), rest in zip(
    itertools.product(NETWORKS, (1, 2, 4, 8)),
    itertools.cycle(
      zip(
        itertools.cycle(("float32", "float32", "mixed_bfloat16")),
        itertools.cycle(("momentum", "adam")),
        ("min", "fixed", "running", "quantile", "min", "fixed", "running"),
        itertools.cycle(("optimizer", "model", "model")),
      )
    ),
  )
]


@pytest.mark.parametrize(
  ("kind", "cores", "policy", "optimizer", "bound", "api"), TURNS
)
def test_five_steps(make_strategy, kind, cores, policy, optimizer, bound, api):
  check(*run(make_strategy, kind, cores, policy, optimizer, bound, api))


@pytest.mark.slow
@pytest.mark.parametrize(
  ("kind", "cores", "policy", "optimizer", "bound", "api"),
  itertools.product(
    NETWORKS,
    (1, 2, 4, 8),
    ("float32", "mixed_bfloat16"),
    ("momentum", "adam"),
    BOUNDS,
    ("optimizer", "model"),
  ),
)
def test_five_steps_everywhere(
  make_strategy, kind, cores, policy, optimizer, bound, api
):
  check(*run(make_strategy, kind, cores, policy, optimizer, bound, api))


@pytest.mark.parametrize("microbatches", [2, PER_CORE])
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(
  ("kind", "cores"), [("convolution", 2), ("embedding", 1)]
)
def test_microbatches(make_strategy, kind, cores, bound, microbatches):
  error, moved = run(
    make_strategy,
    kind,
    cores,
    "float32",
    "momentum",
    bound,
    "model",
    microbatches=microbatches,
  )
  check(error, moved)


@pytest.mark.parametrize(
  ("policy", "bound", "optimizer", "api", "normalize", "options"),
  [
    ("float32", "min", "adam", "model", "auto", {}),
    ("float64", "min", "adam", "optimizer", False, {}),
    ("float64", "min", "momentum", "optimizer", True, {}),
    ("float32", "min", "momentum", "model", True, {"microbatches": 2}),
    ("mixed_bfloat16", "min", "momentum", "model", True, {"microbatches": 4}),
    (
      "float64",
      "quantile",
      "momentum",
      "model",
      True,
      {"batch_clip_norm": 0.2},
    ),
    ("float32", "running", "momentum", "model", True, {"microbatches": 4}),
    ("mixed_bfloat16", "running", "adam", "optimizer", "auto", {}),
    (
      "float32",
      "fixed",
      "momentum",
      "optimizer",
      True,
      {"batch_clip_norm": 0.2},
    ),
    ("float64", "fixed", "momentum", "model", True, {"microbatches": 2}),
  ],
)
def test_divided_by_the_bound(
  make_strategy, policy, bound, optimizer, api, normalize, options
):
  check(
    *run(
      make_strategy,
      "dense",
      4,
      policy,
      optimizer,
      bound,
      api,
      normalize=normalize,
      **options,
    )
  )


@pytest.mark.parametrize("api", ["optimizer", "model"])
@pytest.mark.parametrize("kind", ["dense", "embedding"])
def test_core_then_batch_clipping(make_strategy, kind, api):
  error, moved = run(
    make_strategy,
    kind,
    4,
    "float32",
    "momentum",
    "fixed",
    api,
    batch_clip_norm=0.2,
  )
  check(error, moved)

"""Both doors against NumPy, five steps on random networks."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import reference

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
  door,
  microbatches=1,
  batch_clip_norm=None,
):
  """Error of one run after five steps, and how far the weights moved."""
  seed = [ord(c) for c in kind + optimizer + bound + door] + [cores]
  rng = np.random.default_rng(seed)
  keras.config.set_dtype_policy(policy)
  make_optimizer, numpy_optimizer = reference.OPTIMIZERS[optimizer]
  rule, numpy_rule = BOUNDS[bound]
  numpy_rule = reference.Bound(**numpy_rule)
  numpy_optimizer = type(numpy_optimizer)(numpy_optimizer.rate)

  inputs, outputs, draw = reference.network(kind, rng)
  plain = keras.Model(inputs, outputs)
  strategy = make_strategy(cores)
  with strategy.scope():
    if door == "optimizer":
      model = keras.models.clone_model(plain)
      model.compile(
        tf_pcc.PerCoreClipping(
          make_optimizer(), rule, batch_clip_norm=batch_clip_norm
        ),
        loss="mse",
      )
    else:
      clone = keras.models.clone_model(plain)
      model = tf_pcc.PerCoreModel(clone.inputs, clone.outputs[0])
      model.compile(
        make_optimizer(),
        loss="mse",
        clipping=tf_pcc.Clipping(
          rule, microbatches=microbatches, batch_clip_norm=batch_clip_norm
        ),
      )
  model.set_weights(plain.get_weights())
  start = [w.astype(np.float64) for w in plain.get_weights()]

  x, y = draw(STEPS * cores * PER_CORE)
  data = tf.data.Dataset.from_tensor_slices((x, y))
  model.fit(data.batch(cores * PER_CORE, drop_remainder=True), verbose=0)

  gradients = reference.gradient_function(plain)
  weights = start
  part = PER_CORE // microbatches
  for step in range(STEPS):
    plain.set_weights([w.astype(np.float32) for w in weights])
    rows = range(
      step * cores * PER_CORE, (step + 1) * cores * PER_CORE, part
    )
    units = [gradients(x[r : r + part], y[r : r + part]) for r in rows]
    mean = reference.clipped_mean(
      units, numpy_rule, batch_clip_norm=batch_clip_norm
    )
    weights = numpy_optimizer(weights, mean)
  moved = relative_error(weights, start)
  return relative_error(model.get_weights(), weights), moved


def check(error, moved, policy):
  assert moved > 1e-2
  # bfloat16 keeps 8 bits: another last bit of a weight moves a gradient by
  # 0.4%. The clipping itself runs in float32 either way.
  assert error <= (1e-5 if policy == "float32" else 2e-2)


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
  ("kind", "cores", "policy", "optimizer", "bound", "door"), TURNS
)
def test_five_steps(
  make_strategy, kind, cores, policy, optimizer, bound, door
):
  check(
    *run(make_strategy, kind, cores, policy, optimizer, bound, door), policy
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("kind", "cores", "policy", "optimizer", "bound", "door"),
  itertools.product(
    NETWORKS,
    (1, 2, 4, 8),
    ("float32", "mixed_bfloat16", "bfloat16"),
    ("momentum", "adam"),
    BOUNDS,
    ("optimizer", "model"),
  ),
)
def test_five_steps_everywhere(
  make_strategy, kind, cores, policy, optimizer, bound, door
):
  if policy == "bfloat16":
    pytest.skip("bfloat16 weights round every update: see clipping_test")
  check(
    *run(make_strategy, kind, cores, policy, optimizer, bound, door), policy
  )


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
  check(error, moved, "float32")


@pytest.mark.parametrize("door", ["optimizer", "model"])
@pytest.mark.parametrize("kind", ["dense", "embedding"])
def test_core_then_batch_clipping(make_strategy, kind, door):
  error, moved = run(
    make_strategy,
    kind,
    4,
    "float32",
    "momentum",
    "fixed",
    door,
    batch_clip_norm=0.2,
  )
  check(error, moved, "float32")

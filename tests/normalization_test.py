"""Whether the update is divided by the bound, and what may not be."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import apis
from tf_pcc import normalization

NAN, INF = np.nan, np.inf
CORES = 8


# Which optimizers.


def make(name, **options):
  return getattr(keras.optimizers, name)(learning_rate=0.01, **options)


def moved(optimizer, factor):
  """How far 20 steps move two variables when all gradients have one factor."""
  rng = np.random.default_rng(1)
  variables = [
    keras.Variable(rng.normal(size=shape).astype("f"), name=name)
    for name, shape in (("kernel", (6, 5)), ("bias", (5,)))
  ]
  optimizer.build(variables)
  before = [v.numpy() for v in variables]
  for _ in range(20):
    # Sizes of 0.5 to 1.5, so that no epsilon counts.
    gradients = [
      rng.uniform(0.5, 1.5, v.shape) * rng.choice([-1, 1], v.shape)
      for v in variables
    ]
    optimizer.apply([tf.constant(g * factor, tf.float32) for g in gradients])
  return [v.numpy() - old for v, old in zip(variables, before)]


@pytest.mark.parametrize(
  ("name", "options", "invariant"),
  [
    ("Adadelta", {}, True),
    ("Adafactor", {}, True),
    ("Adagrad", {}, False),
    ("Adagrad", {"initial_accumulator_value": 0.0}, True),
    ("Adam", {}, True),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}, True),
    ("AdamW", {}, True),
    ("Adamax", {}, True),
    ("Ftrl", {}, False),
    ("Lamb", {}, True),
    ("Lion", {}, True),
    ("Nadam", {}, True),
    ("RMSprop", {}, True),
    ("RMSprop", {"momentum": 0.9, "centered": True}, True),
    ("SGD", {}, False),
    ("SGD", {"momentum": 0.9, "nesterov": True}, False),
    # Of Keras versions later than the oldest that is supported.
    *(
      (name, {}, True)
      for name in ("Muon", "ScheduleFreeAdamW")
      if hasattr(keras.optimizers, name)
    ),
  ],
  ids=str,
)
def test_is_scale_invariant(name, options, invariant):
  """What is answered is what the optimizer does with scaled gradients."""
  assert normalization.is_scale_invariant(make(name, **options)) is invariant
  plain = moved(make(name, **options), 1.0)
  error = max(
    np.abs(a - b).max() / np.abs(b).max()
    for factor in (1 / 16, 16.0)
    for a, b in zip(moved(make(name, **options), factor), plain)
  )
  if invariant:
    assert error < 1e-2
  else:
    assert error > 0.1


def test_optimizers_of_ones_own():
  class Mine(keras.optimizers.AdamW):
    pass

  class Unknown(keras.optimizers.Optimizer):
    pass

  assert normalization.is_scale_invariant(Mine(0.1))
  assert not normalization.is_scale_invariant(Unknown(0.1))


# When.

MIN, RUNNING = tf_pcc.MinBound(), tf_pcc.RunningBound()


@pytest.mark.parametrize(
  ("bound", "optimizer", "count", "expected"),
  [
    (MIN, "Adam", 2, True),
    (MIN, "Adam", 1, False),
    (MIN, "SGD", 2, False),
    (tf_pcc.QuantileBound(), "Lion", 2, True),
    (tf_pcc.QuantileBound(), "Lion", 1, False),
    (RUNNING, "AdamW", 2, True),
    # One unit is compared with its own past.
    (RUNNING, "AdamW", 1, True),
    (tf_pcc.RunningBound(0.0), "AdamW", 1, False),
    (tf_pcc.FixedBound(2.0), "Adam", 2, False),
    (tf_pcc.FixedBound(INF), "Adam", 2, False),
  ],
)
def test_auto(bound, optimizer, count, expected):
  assert (
    normalization.resolve("auto", bound, make(optimizer), count) is expected
  )
  assert normalization.resolve(False, bound, make(optimizer), count) is False


@pytest.mark.parametrize("value", ["on", "True", None, 1, 0, 1.0, [True]])
def test_other_values_are_refused(value):
  with pytest.raises(ValueError, match="normalize must be .*Received: norm"):
    tf_pcc.Clipping(1.0, normalize=value)
  with pytest.raises(ValueError, match="normalize must be .*Received: norm"):
    tf_pcc.PerCoreClipping("sgd", 1.0, normalize=value)


@pytest.mark.parametrize("bound", [INF, 1e39, 1e300])
def test_an_infinite_bound_cannot_be_divided_by(bound):
  """1e39 is infinite in float32."""
  with pytest.raises(ValueError, match=r"infinite.*bound=FixedBound\(norm="):
    tf_pcc.Clipping(bound, normalize=True)
  assert tf_pcc.Clipping(bound).normalize == "auto"
  assert tf_pcc.Clipping(bound, normalize=False).bound.norm == bound


@pytest.mark.parametrize("bound", [MIN, tf_pcc.RunningBound(0.0)])
@pytest.mark.parametrize("api", apis.APIS)
def test_one_core_has_nothing_to_divide_by(api, bound, make_strategy):
  strategy = make_strategy(1)
  model = apis.compiled(api, strategy, 2, bound, clipping={"normalize": True})
  with pytest.raises(ValueError, match="on one core without.*Received:"):
    model.fit(apis.batches([[[3, 4]]]), verbose=0)
  # "auto" leaves Adam what it is alone.
  found, alone = (
    apis.update(
      apis.compiled(api, strategy, 2, b, lambda: make("Adam")), [[[3, 4]]] * 2
    )
    for b in (bound, None)
  )
  np.testing.assert_array_equal(found, alone)


def test_one_core_with_microbatches_or_a_past(make_strategy):
  strategy = make_strategy(1)
  x = np.array([[3, 4], [0, 0.5]], "f")
  model = apis.compiled(
    "model", strategy, 2, MIN, clipping={"normalize": True, "microbatches": 2}
  )
  model.fit(x, np.zeros((2, 1)), batch_size=2, shuffle=False, verbose=0)
  np.testing.assert_allclose(
    -model.get_weights()[0][:, 0], [0.3, 0.9], rtol=1e-6
  )
  model = apis.compiled(
    "optimizer", strategy, 2, RUNNING, clipping={"normalize": True}
  )
  np.testing.assert_allclose(
    apis.update(model, [[[3, 4]]]), [0.6, 0.8], rtol=1e-5
  )

"""Adam in one operation: NumPy's numbers, Keras' files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from launch.runs import fused_adam
from tests import reference

STEPS = 6


def problem(dtype, seed=0):
  """Weights, and as many gradients as steps."""
  random = np.random.default_rng(seed)
  weights = [random.normal(size=s).astype(dtype) for s in ((3, 2), (4,))]
  gradients = [
    [
      (10.0 ** random.uniform(-6, 3) * random.normal(size=w.shape)).astype(
        dtype
      )
      for w in weights
    ]
    for _ in range(STEPS)
  ]
  return weights, gradients


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cores", [1, 4])
def test_against_numpy(make_strategy, dtype, cores):
  weights, gradients = problem(dtype)
  adam = reference.Adam(0.01)
  expected = [w.astype(np.float64) for w in weights]
  for gradient in gradients:
    expected = adam(expected, [g.astype(np.float64) for g in gradient])
  strategy = make_strategy(cores)
  with strategy.scope():
    variables = [keras.Variable(w, dtype=dtype) for w in weights]
    optimizer = fused_adam.FusedAdam(0.01)
    optimizer.build(variables)

  def apply(gradients):
    # Keras adds up what the cores hand it.
    optimizer.apply([g / cores for g in gradients], variables)

  @tf.function(autograph=False)
  def step(gradients):
    strategy.run(apply, args=(gradients,))

  for gradient in gradients:
    step([tf.constant(g) for g in gradient])
  for variable, value in zip(variables, expected):
    copies = strategy.experimental_local_results(variable.value)
    assert len(copies) == cores
    for copy in copies:
      np.testing.assert_allclose(copy.numpy(), value, rtol=3e-6)
  assert int(optimizer.iterations.numpy()) == STEPS


def trained(kind, **arguments):
  """Weights of an embedding and a dense layer after some steps."""
  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [keras.layers.Embedding(7, 3), keras.layers.Dense(1)]
  )
  x = np.random.default_rng(1).integers(0, 7, [8, 4])
  model.compile(kind(0.05, **arguments), loss="mse")
  model.fit(x, np.ones([8, 4, 1]), epochs=3, batch_size=4, verbose=0)
  return model.get_weights()


@pytest.mark.parametrize(
  "arguments", [{}, {"amsgrad": True}, {"weight_decay": 0.1}, {"use_ema": True}]
)
def test_sparse_gradients_and_arguments(arguments):
  found = trained(fused_adam.FusedAdam, **arguments)
  expected = trained(keras.optimizers.Adam, **arguments)
  for a, b in zip(found, expected):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
  ("before", "after"),
  [
    (keras.optimizers.Adam, fused_adam.FusedAdam),
    (fused_adam.FusedAdam, keras.optimizers.Adam),
  ],
)
def test_each_restores_what_the_other_saved(tmp_path, before, after):
  weights, gradients = problem("float32")

  def make(kind):
    variables = [keras.Variable(w) for w in weights]
    optimizer = tf_pcc.PerCoreClipping(kind(0.01), tf_pcc.FixedBound(1.0))
    optimizer.build(variables)
    saver = tf.train.Checkpoint(
      optimizer=optimizer, weights=[v.value for v in variables]
    )
    return variables, optimizer, saver

  variables, optimizer, saver = make(before)
  for gradient in gradients[:3]:
    optimizer.apply([tf.constant(g) for g in gradient], variables)
  path = saver.write(str(tmp_path / "checkpoint"))
  for gradient in gradients[3:]:
    optimizer.apply([tf.constant(g) for g in gradient], variables)
  others, other, saver = make(after)
  saver.read(path).assert_existing_objects_matched()
  for gradient in gradients[3:]:
    other.apply([tf.constant(g) for g in gradient], others)
  for a, b in zip(variables, others):
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


def test_a_keras_file_keeps_it(tmp_path):
  model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
  model.compile(fused_adam.FusedAdam(0.05, beta_2=0.98), loss="mse")
  x, y = np.ones([4, 2]), np.zeros([4, 1])
  model.fit(x, y, verbose=0)
  model.save(tmp_path / "model.keras")
  loaded = keras.models.load_model(tmp_path / "model.keras")
  assert type(loaded.optimizer) is fused_adam.FusedAdam
  assert loaded.optimizer.beta_2 == 0.98
  for each in (model, loaded):
    each.fit(x, y, verbose=0)
  for a, b in zip(model.get_weights(), loaded.get_weights()):
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_one_operation_a_variable():
  """What it is for."""
  weights, gradients = problem("float32")
  variables = [keras.Variable(w) for w in weights]
  optimizer = fused_adam.FusedAdam(0.01)
  optimizer.build(variables)

  @tf.function(autograph=False)
  def step(gradients):
    optimizer.apply(gradients, variables)

  graph = step.get_concrete_function([tf.constant(g) for g in gradients[0]])
  kinds = [op.type for op in graph.graph.get_operations()]
  assert kinds.count("ResourceApplyAdam") == len(variables)
  assert not any("Sqrt" in kind for kind in kinds)

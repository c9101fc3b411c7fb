"""Both APIs saved and restored, in every format, on any number of cores."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tests import apis
from tests.workers import ROOT

CORES = 3
SIZE = 3


def adam():
  return keras.optimizers.Adam(0.1)


def make(api, strategy, bound=None, **options):
  bound = tf_pcc.RunningBound(0.8, "mean") if bound is None else bound
  model = apis.compiled(api, strategy, SIZE, bound, adam, **options)
  with strategy.scope():
    model.optimizer.build(model.trainable_variables)
  return model


def random_steps(steps=3, cores=CORES, seed=0):
  """Gradients whose sums are exact, so that two runs can be equal."""
  rng = np.random.default_rng(seed)
  gradients = rng.normal(size=(steps, cores, SIZE))
  gradients *= rng.lognormal(size=(steps, cores, 1))
  return np.round(gradients * 64) / 64


def data(**options):
  return apis.batches(random_steps(**options))


def train(model, **options):
  apis.update(model, random_steps(**options))


def state(model):
  """Weights, slots, iterations and the clipper's vectors, by place."""
  optimizer = model.optimizer
  return [
    np.asarray(v)
    for v in (
      *model.get_weights(),
      *(v.numpy() for v in optimizer.inner_optimizer.variables),
      *(v.numpy() for v in optimizer.variables),
    )
  ]


def assert_same(found, expected):
  assert len(found) == len(expected)
  for a, b in zip(found, expected):
    np.testing.assert_array_equal(a, b)


def running(model):
  """The bound's averages and weights, one of each a core."""
  found = {v.name: v.numpy() for v in model.optimizer.variables}
  return found["bound_log_average"], found["bound_weight"]


def through_keras(model, path, make_model):
  model.save(path / "m.keras")
  strategy = make_model.strategy
  with strategy.scope():
    return keras.saving.load_model(
      path / "m.keras", custom_objects={"linear_loss": apis.linear_loss}
    )


def through_weights(model, path, make_model):
  model.save_weights(path / "m.weights.h5")
  other = make_model()
  other.load_weights(path / "m.weights.h5")
  return other


def through_checkpoint(model, path, make_model):
  written = tf.train.Checkpoint(model=model).save(str(path / "step"))
  other = make_model()
  tf.train.Checkpoint(model=other).restore(written).assert_consumed()
  return other


def through_late_checkpoint(model, path, make_model):
  """Restored before the optimizer is built: TensorFlow restores on creation."""
  written = tf.train.Checkpoint(model=model).save(str(path / "step"))
  other = make_model(built=False)
  tf.train.Checkpoint(model=other).restore(written)
  with make_model.strategy.scope():
    other.optimizer.build(other.trainable_variables)
  return other


class Maker:
  """Makes models like the one that was saved, with other weights."""

  def __init__(self, api, strategy, **options):
    self.api, self.strategy, self.options = api, strategy, options

  def __call__(self, built=True):
    model = apis.compiled(
      self.api,
      self.strategy,
      SIZE,
      tf_pcc.RunningBound(0.8, "mean"),
      adam,
      **self.options,
    )
    model.set_weights([w + 1 for w in model.get_weights()])
    if built:
      with self.strategy.scope():
        model.optimizer.build(model.trainable_variables)
    return model


ROADS = {
  "keras": through_keras,
  "weights": through_weights,
  "checkpoint": through_checkpoint,
  "late checkpoint": through_late_checkpoint,
}


@pytest.mark.parametrize("api", apis.APIS)
def test_state_is_restored_bit_for_bit(api, make_strategy, tmp_path):
  """Weights, Adam's slots, iterations, averages; training then continues."""
  strategy = make_strategy(CORES)
  model = make(api, strategy)
  train(model)
  saved = state(model)
  average, weight = running(model)
  assert len(set(average)) == CORES
  assert (weight > 0).all()
  others = {
    name: road(model, tmp_path, Maker(api, strategy))
    for name, road in ROADS.items()
  }
  for other in others.values():
    assert_same(state(other), saved)
  train(model, seed=1)
  assert np.abs(state(model)[0] - saved[0]).max() > 0
  for other in others.values():
    train(other, seed=1)
    assert_same(state(other), state(model))
    # The cores have their own again.
    for name, variable in other.optimizer._clipper.local_variables.items():
      own = strategy.experimental_local_results(variable)
      copy = other.optimizer._clipper.save()[f"bound_{name}"]
      np.testing.assert_array_equal(np.concatenate(own), copy)


@pytest.mark.parametrize("api", apis.APIS)
def test_restored_on_another_number_of_cores(api, make_strategy, tmp_path):
  """The new slots are evenly spaced quantiles of the old averages."""
  for before, afters in ((CORES, (2, 5)), (5, (1,))):
    model = make(api, make_strategy(before))
    train(model, cores=before)
    average, weight = running(model)
    saved = state(model)
    for after in afters:
      expected = np.quantile(average, np.linspace(0, 1, after))
      for road in ROADS.values():
        other = road(model, tmp_path, Maker(api, make_strategy(after)))
        found, new_weight = running(other)
        np.testing.assert_array_equal(found, expected.astype(np.float32))
        np.testing.assert_array_equal(new_weight, np.full(after, weight.min()))
        inner = [v.numpy() for v in other.optimizer.inner_optimizer.variables]
        assert_same(inner, saved[1 : 1 + len(inner)])
    train(other, cores=after)
    assert other.optimizer.statistics()["live_cores"] == after


@pytest.mark.parametrize("api", apis.APIS)
def test_loads_in_a_fresh_process(api, make_strategy, tmp_path):
  """Which imports keras and tf_pcc, and has one core."""
  rng = np.random.default_rng(0)
  with make_strategy(2).scope():
    inputs = keras.Input((SIZE,))
    outputs = keras.layers.Dense(1)(inputs)
    bound = tf_pcc.RunningBound(0.5)
    if api == "optimizer":
      model = keras.Model(inputs, outputs)
      model.compile(tf_pcc.PerCoreClipping(adam(), bound), loss="mse")
    else:
      model = tf_pcc.PerCoreModel(inputs, outputs)
      model.compile(
        adam(), loss="mse", clipping=tf_pcc.Clipping(bound, microbatches=2)
      )
  x, y = rng.normal(size=(16, SIZE)).astype("f"), rng.normal(size=(16, 1))
  model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
  model.save(tmp_path / "m.keras")
  np.savez(tmp_path / "data.npz", x=x, y=y)
  script = str(ROOT / "tests" / "saving_main.py")
  files = [str(tmp_path / n) for n in ("m.keras", "data.npz", "out.npz")]
  done = subprocess.run(
    [sys.executable, script, *files],
    env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=240,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  found = np.load(tmp_path / "out.npz")
  average, _ = running(model)
  units = 1 if api == "optimizer" else 2
  np.testing.assert_array_equal(
    found["bound_log_average"],
    np.quantile(average, np.linspace(0, 1, units)).astype("f"),
  )
  with make_strategy(1).scope():
    other = keras.saving.load_model(tmp_path / "m.keras")
  other.fit(x, y, batch_size=8, shuffle=False, verbose=0)
  for i, w in enumerate(other.get_weights()):
    np.testing.assert_allclose(found[f"w{i}"], w, rtol=1e-6)


@pytest.mark.parametrize("api", apis.APIS)
def test_keras_file_keeps_what_was_configured(api, make_strategy, tmp_path):
  options = {"batch_clip_norm": 3.0, "dead_cores": "live", "track_cosine": True}
  if api == "model":
    options |= {"microbatches": 2, "core_weights": "examples"}
  strategy = make_strategy(2)
  model = make(api, strategy, tf_pcc.QuantileBound(0.25), clipping=options)
  train(model, cores=2)
  other = through_keras(model, tmp_path, Maker(api, strategy))
  assert type(other).__mro__[1:] == type(model).__mro__[1:]
  found, expected = (m.optimizer.clipping.get_config() for m in (other, model))
  assert found == expected
  for name, value in options.items():
    assert found[name] == value
  assert isinstance(other.optimizer.inner_optimizer, keras.optimizers.Adam)
  train(model, cores=2, seed=1)
  train(other, cores=2, seed=1)
  assert_same(state(other), state(model))


def test_microbatches_keep_one_slot_each(make_strategy, tmp_path):
  strategy = make_strategy(2)
  options = {"clipping": {"microbatches": 2}}
  model = make("model", strategy, **options)
  train(model, cores=2)
  assert running(model)[0].shape == (4,)
  for road in ROADS.values():
    other = road(model, tmp_path, Maker("model", strategy, **options))
    assert_same(state(other), state(model))


@pytest.mark.parametrize(
  ("saved", "loaded"), [("optimizer", "model"), ("model", "optimizer")]
)
def test_one_door_restores_the_checkpoint_of_the_other(
  saved, loaded, make_strategy, tmp_path
):
  strategy = make_strategy(2)
  model = make(saved, strategy)
  train(model, cores=2)
  for road in (through_checkpoint, through_weights):
    other = road(model, tmp_path, Maker(loaded, strategy))
    assert_same(state(other), state(model))


@pytest.mark.parametrize("api", apis.APIS)
def test_backup_and_restore(api, make_strategy, tmp_path):
  """A run killed in its second epoch ends as one that was not."""
  strategy = make_strategy(2)

  class Killed(Exception):
    pass

  class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
      if epoch == 1:
        raise Killed

  def fit(model, *callbacks):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    model.fit(
      data(cores=2), epochs=2, verbose=0, callbacks=[backup, *callbacks]
    )

  whole = make(api, strategy)
  whole.fit(data(cores=2), epochs=2, verbose=0)
  with pytest.raises(Killed):
    fit(make(api, strategy), Kill())
  other = make(api, strategy)
  fit(other)
  assert_same(state(other), state(whole))
  assert int(other.optimizer.iterations.numpy()) == 6

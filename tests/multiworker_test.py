"""Two real processes on loopback under MultiWorkerMirroredStrategy."""

import keras
import numpy as np
import pytest

from tests import apis, reference
from tests import multiworker_main as worker
from tests.workers import run_workers

BOUNDS = {
  "fixed": {"kind": "fixed", "norm": 0.7},
  "min": {"kind": "min"},
}
RUNNING = {"running": {"kind": "running", "decay": 0.7, "statistic": "min"}}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
  """What each of the two workers found, a dict of cases."""
  folder = tmp_path_factory.mktemp("workers")
  run_workers(["-m", "tests.multiworker_main", str(folder)])
  return [
    np.load(folder / f"{task}.npy", allow_pickle=True).item()
    for task in range(worker.WORKERS)
  ]


def test_both_workers_end_with_the_same_weights(results):
  first, second = results
  assert first.keys() == second.keys()
  for case in first:
    key = "trajectory" if "trajectory" in first[case] else "weights"
    for a, b in zip(first[case][key], second[case][key]):
      np.testing.assert_array_equal(a, b, err_msg=case)


def expected_weights(start, bound, epochs=1, normalize=False):
  """The same training in NumPy: weights and the mean loss of every step."""
  inputs, outputs, (x, y) = worker.network()
  plain = keras.Model(inputs, outputs)
  gradients = reference.gradient_function(plain)
  optimizer = reference.Momentum(worker.RATE)
  rule = reference.Bound(**(BOUNDS | RUNNING)[bound])
  weights = [w.astype(np.float64) for w in start]
  losses = []
  rows = worker.WORKERS * worker.PER_CORE
  for _ in range(epochs):
    for first in range(0, len(x), rows):
      plain.set_weights([w.astype(np.float32) for w in weights])
      batch = x[first : first + rows], y[first : first + rows]
      losses.append(np.mean((plain(batch[0]).numpy() - batch[1]) ** 2))
      units = [
        gradients(*parts)
        for parts in zip(*(np.split(b, worker.WORKERS) for b in batch))
      ]
      mean = reference.clipped_mean(units, rule, normalize=normalize)
      weights = optimizer(weights, mean)
  plain.set_weights([w.astype(np.float32) for w in weights])
  return weights, losses, plain, (x, y)


def check(found, expected, start):
  for a, b, before in zip(found, expected, start):
    assert np.abs(b - before).max() > 1e-3
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("case", ["loop", "optimizer", "divided"])
def test_loop_of_ones_own_matches_numpy(results, case, bound):
  found = results[0][f"{case} {bound}"]
  expected, *_ = expected_weights(
    found["start"], bound, normalize=case == "divided"
  )
  check(found["weights"], expected, found["start"])


@pytest.mark.parametrize("bound", BOUNDS)
def test_fit_matches_numpy(results, bound):
  found = results[0][f"fit {bound}"]
  expected, losses, plain, (x, y) = expected_weights(
    found["start"], bound, epochs=2
  )
  check(found["weights"], expected, found["start"])
  assert found["iterations"] == 2 * worker.STEPS
  history = found["history"]
  epochs = np.reshape(losses, [2, worker.STEPS]).mean(axis=1)
  np.testing.assert_allclose(history["loss"], epochs, rtol=1e-5)
  error = np.abs(plain(x).numpy() - y)
  for name, expected in (("loss", (error**2).mean()), ("mae", error.mean())):
    assert np.shape(found["evaluated"][name]) == ()
    np.testing.assert_allclose(found["evaluated"][name], expected, rtol=1e-5)
    np.testing.assert_allclose(history[f"val_{name}"][-1], expected, rtol=1e-5)
  assert history["live_cores"] == [2, 2]
  if bound == "min":
    assert history["clip_bound"] == history["core_norm_min"]


@pytest.mark.parametrize("dead_cores", ["fixed", "live"])
@pytest.mark.parametrize("api", apis.APIS)
@pytest.mark.parametrize("bound", BOUNDS)
def test_dead_cores_on_either_worker(results, bound, api, dead_cores):
  found = results[0][f"edges {bound} {api} {dead_cores}"]
  rule = reference.Bound(**BOUNDS[bound])
  weights = np.zeros(2)
  for row, step in enumerate(np.array(worker.EDGES, np.float64)):
    update = reference.clipped_mean([[g] for g in step], rule, dead_cores)
    if update is not None:
      weights = weights - update[0]
    np.testing.assert_allclose(found["trajectory"][row], weights, rtol=1e-5)
  assert found["live"] == [2, 1, 1, 0, 2]
  assert found["skipped"] == [0, 0, 0, 1, 1]
  assert found["iterations"] == 4


def test_every_worker_keeps_its_own_running_norms(results):
  found = results[0]["running"]
  expected, *_ = expected_weights(found["start"], "running")
  check(found["weights"], expected, found["start"])
  for task, result in enumerate(results):
    case = result["running"]
    for name, own in case["own"].items():
      copy = case["state"][f"bound_{name}"]
      assert copy.shape == (worker.WORKERS,)
      np.testing.assert_array_equal(own, copy[task : task + 1])
  averages = [result["running"]["own"]["log_average"] for result in results]
  assert averages[0] != averages[1]


def test_subclass_that_fit_builds(results):
  """A loss of one's own, micro-batches, arrays, the model not yet built."""
  found = results[0]["subclassed"]
  assert np.isfinite(found["history"]["loss"]).all()
  assert found["history"]["live_cores"] == [2]
  _, _, (x, y) = worker.network()
  model = keras.Sequential(
    [keras.layers.Dense(y.shape[1], kernel_initializer="zeros")]
  )
  model(x[:1])
  gradients = reference.gradient_function(model)
  rule = reference.Bound(**BOUNDS["fixed"])
  start = [w.astype(np.float64) for w in model.get_weights()]
  weights, part = start, worker.PER_CORE // 2
  for first in range(0, len(x), 4 * part):
    model.set_weights(weights)
    cuts = [slice(first + i * part, first + (i + 1) * part) for i in range(4)]
    mean = reference.clipped_mean([gradients(x[c], y[c]) for c in cuts], rule)
    weights = [w - worker.RATE * g for w, g in zip(weights, mean)]
  check(found["weights"], weights, start)


def test_checkpoint_continues_as_if_uninterrupted(results):
  for task in range(worker.WORKERS):
    found = results[task]["checkpoint"]
    for a, b in zip(found["state"], found["restored"]):
      np.testing.assert_array_equal(a, b)
    for a, b in zip(found["weights"], found["continued"]):
      np.testing.assert_array_equal(a, b)

"""The clipping's options, statistics and state."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import logging

import tf_pcc
from tests import reference
from tf_pcc import replicas
from tf_pcc.clipper import Clipper

NAN = np.nan


@pytest.mark.parametrize(
  ("field", "value"),
  [
    *(("microbatches", v) for v in (0, -1, 1.5, True, "2", None)),
    *(("batch_clip_norm", v) for v in (0, -1.0, NAN, "1", True)),
    *(("dead_cores", v) for v in ("dead", None, 1)),
    *(("core_weights", v) for v in ("rows", None)),
    *(("bound", v) for v in ("min", None)),
  ],
)
def test_bad_options_are_named(field, value):
  options = {"bound": tf_pcc.MinBound(), field: value}
  with pytest.raises(ValueError, match=f"{field} must be .*Received: {field}="):
    tf_pcc.Clipping(**options)


def test_good_options():
  clipping = tf_pcc.Clipping(2, microbatches=np.int64(4), batch_clip_norm=3)
  assert clipping.bound.norm == 2.0
  assert clipping.batch_clip_norm == 3.0
  config = keras.saving.serialize_keras_object(clipping)
  other = keras.saving.deserialize_keras_object(config)
  assert other.get_config() == clipping.get_config()
  assert json.loads(json.dumps(config, default=int))


def built(bound=None, units=4, **options):
  clipper = Clipper(
    tf_pcc.Clipping(
      bound or tf_pcc.RunningBound(0.5), microbatches=units, **options
    )
  )
  clipper.build()
  return clipper


def test_scaling_on_one_core():
  clipper = built(tf_pcc.MinBound(), dead_cores="live")
  scaling = clipper.scaling(np.float32([4, NAN, 2, 8]))
  np.testing.assert_array_equal(scaling.factors, [0.5, 0, 1, 0.25])
  # Three of four units live: each counts 4 / 3 in the mean of four.
  np.testing.assert_allclose(scaling.weights, np.full(4, 4 / 3), rtol=1e-6)
  assert scaling.any_live
  assert clipper.statistics() == {
    "core_norm_min": 2.0,
    "core_norm_median": 4.0,
    "core_norm_mean": pytest.approx(14 / 3),
    "core_norm_max": 8.0,
    "clip_bound": 2.0,
    "clipped_fraction": pytest.approx(2 / 3),
    "live_cores": 1,
    "dead_core_steps": 0,
    "skipped_steps": 0,
    "skipped_in_a_row": 0,
  }


def test_statistics_without_a_live_unit():
  clipper = built(tf_pcc.MinBound(), units=2, track_cosine=True)
  for skipped in (1, 2):
    scaling = clipper.scaling(np.float32([0, NAN]))
    assert not scaling.any_live
    assert np.isfinite(scaling.weights).all()
    assert clipper.statistics() == {
      "core_norm_min": 0.0,
      "core_norm_median": 0.0,
      "core_norm_mean": 0.0,
      "core_norm_max": 0.0,
      "clip_bound": 0.0,
      "clipped_fraction": 0.0,
      "live_cores": 0,
      "dead_core_steps": skipped,
      "skipped_steps": skipped,
      "skipped_in_a_row": skipped,
      "update_cosine": 0.0,
    }


def test_skipped_steps_in_a_row_end_with_a_live_one():
  clipper = built(units=1)
  found = []
  for norm in (NAN, 0, 1, NAN, 2, NAN, NAN):
    clipper.scaling(np.float32([norm]))
    found.append(clipper.statistics())
  assert [s["skipped_in_a_row"] for s in found] == [1, 2, 0, 1, 0, 1, 2]
  assert [s["skipped_steps"] for s in found] == [1, 2, 2, 3, 3, 4, 5]


@pytest.mark.parametrize(
  ("smallest", "count"), [(1e-12, 1), (1e-4, 1), (1e-2, 0), (0.0, 0)]
)
def test_a_bound_far_below_the_median_is_warned_of_once(
  smallest, count, monkeypatch
):
  warnings = []
  monkeypatch.setattr(
    logging, "warning", lambda text, *values: warnings.append(text % values)
  )
  clipper = built(tf_pcc.MinBound())
  for look in range(9):
    clipper.scaling(np.float32([1, smallest, 3, 2]))
    clipper.statistics()
    if look < Clipper.LOOKS - 1:
      assert not warnings
  assert len(warnings) == count
  if count:
    assert f"the bound, {smallest:.3g}, is far below" in warnings[0]
    assert "QuantileBound" in warnings[0]


def test_a_low_bound_now_and_then_is_not_warned_of(monkeypatch):
  monkeypatch.setattr(logging, "warning", lambda *_: pytest.fail("warned"))
  clipper = built(tf_pcc.MinBound())
  for smallest in (1e-12, 1e-12, 1.0) * 3:
    clipper.scaling(np.float32([1, smallest, 3, 2]))
    clipper.statistics()


def test_dead_step_leaves_the_averages():
  clipper = built()
  clipper.scaling(np.float32([1, 2, 3, 4]))
  before = clipper.save()
  clipper.scaling(np.float32([NAN, 0, np.inf, 0]))
  after = clipper.save()
  for name in ("bound_log_average", "bound_weight"):
    np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.parametrize("through", [dict, "json"])
def test_save_and_load(through):
  clipper = built()
  clipper.scaling(np.float32([0.1, 1 / 3, 1e-30, 1e30]))
  saved = clipper.save()
  late = Clipper(clipper.clipping)
  other = built()
  for target in (late, other):
    if through == "json":
      text = clipper.checkpoint_state.serialize()
      target.checkpoint_state.deserialize(text)
    else:
      target.load(saved)
  # What waits for the build is saved too.
  assert late.save().keys() == saved.keys()
  late.build()
  for target in (late, other):
    for name, value in target.save().items():
      np.testing.assert_array_equal(value, saved[name])
      assert value.dtype == saved[name].dtype


def test_load_on_another_number_of_units():
  clipper = built()
  clipper.scaling(np.float32([1, 2, 3, 4]))
  clipper.scaling(np.float32([NAN, 0, 0, 0]))
  clipper.scaling(np.zeros(4, np.float32))
  other = built(units=2)
  other.load(clipper.save())
  found = other.save()
  np.testing.assert_allclose(
    found["bound_log_average"], np.log([1, 4]), atol=1e-6
  )
  np.testing.assert_array_equal(found["norms"], [0, 0])
  assert found["skipped_steps"] == 2


def test_load_from_another_bound_starts_anew():
  clipper = built(tf_pcc.MinBound())
  clipper.scaling(np.float32([1, 2, 3, 4]))
  other = built()
  other.load(clipper.save())
  np.testing.assert_array_equal(other.save()["bound_weight"], np.zeros(4))
  assert other.save()["bound"] == 1.0


def test_scaling_for_another_number_of_units_is_refused():
  with pytest.raises(ValueError, match="built for=4, units of this step=3"):
    built().scaling(np.ones(3, np.float32))


class Counting(tf_pcc.bounds.Bound):
  """A bound whose memory comes from the norms of all units."""

  state_names = ("largest",)

  def compute(self, norms, live, state):
    largest = tf.reduce_max(tf.where(live, norms, 0.0))
    return largest, {"largest": tf.maximum(state["largest"], largest)}


@pytest.mark.parametrize("bound", [Counting(), tf_pcc.RunningBound(0.5)])
@pytest.mark.parametrize("microbatches", [1, 2])
def test_every_core_keeps_its_own(bound, microbatches, make_strategy):
  """In variables local to it; the copy that all hold is gathered from them."""
  cores = 4
  strategy = make_strategy(cores)
  rng = np.random.default_rng(0)
  norms = rng.lognormal(size=(3, cores, microbatches)).astype(np.float32)
  norms[1, 2] = NAN
  with strategy.scope():
    clipper = Clipper(tf_pcc.Clipping(bound, microbatches=microbatches))
    clipper.build()

  @tf.function
  def step(values):
    strategy.run(lambda: clipper.scaling(values[replicas.replica_id()]))

  def own(name):
    return np.concatenate(
      [
        core.numpy()
        for core in strategy.experimental_local_results(
          clipper.local_variables[name]
        )
      ]
    )

  for number, values in enumerate(norms):
    step(tf.constant(values))
    for name in bound.state_names:
      copy = clipper.save()[f"bound_{name}"]
      np.testing.assert_array_equal(own(name), copy)
    if isinstance(bound, Counting):
      expected = np.full(cores * microbatches, np.nanmax(norms[: number + 1]))
      np.testing.assert_array_equal(own("largest"), expected)
  if isinstance(bound, Counting):
    return
  units = [reference.RunningNorm(0.5) for _ in range(cores * microbatches)]
  for values in norms:
    for unit, norm in zip(units, values.reshape(-1)):
      if np.isfinite(norm):
        unit.observe(norm)
  np.testing.assert_allclose(
    own("log_average"), [unit.log for unit in units], atol=1e-6
  )
  assert len(set(own("log_average"))) == cores * microbatches


def test_the_copy_is_read_after_it_was_loaded_and_not_else(make_strategy):
  strategy = make_strategy(2)
  with strategy.scope():
    clipper = Clipper(tf_pcc.Clipping(tf_pcc.RunningBound(0.5)))
    clipper.build()

  @tf.function
  def step():
    norms = tf.constant([[4.0], [9.0]])
    strategy.run(lambda: clipper.scaling(norms[replicas.replica_id()]))

  step()
  saved = clipper.save()
  for name in ("bound_log_average", "bound_weight"):
    clipper.variables[name].assign([7.0, 7.0])
  step()
  # The cores did not ask the copy.
  np.testing.assert_allclose(
    clipper.save()["bound_log_average"], np.log([4.0, 9.0]), rtol=1e-6
  )
  clipper.load(saved | {"bound_log_average": np.log(np.float32([16.0, 4.0]))})
  for _ in range(2):
    step()
  # Weights of 1 / 2, a quarter from each of the steps.
  np.testing.assert_allclose(
    clipper.save()["bound_log_average"],
    np.log([16 ** (1 / 7) * 4 ** (6 / 7), 4 ** (1 / 7) * 9 ** (6 / 7)]),
    rtol=1e-6,
  )

"""launch.benchmark: its arithmetic on known times, and one small run."""

import json

import numpy as np
import pytest

from launch.benchmark import step_cost


def test_ratios_are_taken_round_by_round():
  """A machine that is slow for a while is slow for all methods."""
  none = np.array([1.0, 2.0, 10.0, 4.0, 1.0])
  ratio = np.array([1.0, 1.2, 1.1, 1.4, 1.3])
  found = step_cost.compare({"none": none, "apcc": none * ratio})
  assert found["none"]["ratio"] == 1.0
  assert found["none"]["median_seconds"] == 2.0
  assert found["apcc"]["ratio"] == pytest.approx(1.2)
  assert found["apcc"]["ratio_quartiles"] == pytest.approx([1.1, 1.3])
  assert found["apcc"]["median_seconds"] == pytest.approx(2.4)


def test_none_is_always_among_the_chosen():
  assert step_cost.chosen(None) == step_cost.METHODS
  assert list(step_cost.chosen(["apcc", "pcc"])) == ["none", "apcc", "pcc"]
  with pytest.raises(ValueError, match="some of none, batch.*rows=pcc,fast"):
    step_cost.chosen(["pcc", "fast"])


def test_methods_take_turns():
  calls = []
  steps = {name: lambda name=name: calls.append(name) for name in "abc"}
  seconds = step_cost.interleave(steps, 4)
  assert {name: len(v) for name, v in seconds.items()} == dict.fromkeys(
    "abc", 4
  )
  # Two of each before the clock starts.
  assert "".join(calls) == "aabbcc" + "abc" + "bca" + "cab" + "abc"


def test_a_small_run(make_config, make_strategy, monkeypatch):
  """Each method steps its own model, with its own clipping."""
  compiled = []
  make = step_cost.experiment.make_clipping

  def remember(config, per_core):
    compiled.append((config.clipping.method, make(config, per_core)))
    return compiled[-1][1]

  monkeypatch.setattr(step_cost.experiment, "make_clipping", remember)
  methods = {
    "microbatches": step_cost.METHODS["microbatches"],
    "none": step_cost.METHODS["none"],
    "apcc": step_cost.METHODS["apcc"],
  }
  steps = step_cost.make_steps(make_config(cores=1), make_strategy(1), methods)
  assert steps.keys() == methods.keys()
  # A model that takes no step is not traced.
  del steps["apcc"]
  figures = step_cost.compare(step_cost.interleave(steps, 3))
  assert figures["none"]["ratio"] == 1.0
  for row in figures.values():
    low, high = row["ratio_quartiles"]
    assert 0 < low <= row["ratio"] <= high and row["median_seconds"] > 0
  json.dumps(figures)
  (_, parts), (_, nothing), (_, apcc) = compiled
  # What one method changes is not left over in the next.
  assert parts.microbatches == 2 and nothing is None
  assert apcc.microbatches == 1

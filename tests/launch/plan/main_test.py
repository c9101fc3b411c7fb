"""The program: its answer, its file and its exit code."""

import math
import types

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from launch.plan import __main__ as program
from launch.plan import planning
from tests.launch.plan import steps
from tf_pcc import files


class Crowded:
  """A planner of a step that needs 1 GiB and 2 GiB an utterance more."""

  largest = planning.Planner.largest

  def __init__(self, topology):
    self._limit = topology.chip.memory

  def compile(self, shape):
    needed = (1 + 2 * shape.batch) * 2**30
    if needed > self._limit:
      return steps.crowded(needed, self._limit)
    return steps.compiled(needed, self._limit)


@pytest.fixture
def run(monkeypatch):
  """The program with flags, where a planner answers as `Crowded`."""
  monkeypatch.setattr(planning, "Planner", lambda c, t, *_: Crowded(t))
  config = types.SimpleNamespace(value=steps.tiny())
  monkeypatch.setattr(program, "_CONFIG", config)
  if not absl_flags.FLAGS.is_parsed():
    absl_flags.FLAGS(["test"])

  def main(**flags):
    flags = {"topology": "v5e:2x2", "per_core_batch": 2, "json": None} | flags
    with flagsaver.flagsaver(**flags):
      program.main([])

  return main


def test_what_does_not_fit_ends_with_the_batch_that_does(run, capsys, tmp_path):
  path = str(tmp_path / "plan.json")
  with pytest.raises(SystemExit) as ended:
    run(per_core_batch=32, json=path)
  assert ended.value.code == 2
  printed = capsys.readouterr().out
  assert "65.00 GiB needed, 15.75 GiB available: DOES NOT FIT" in printed
  assert "largest batch of a core that fits: 7; 8 does not" in printed
  assert "needed is what the compiler's complaint names" in printed
  written = files.read_json(path)
  assert written["topology"] == "v5e:2x2" and not written["fits"]
  assert written["buckets"][0]["largest_batch"] == {
    "fits": 7,
    "too_large": 8,
    "is_near": True,
  }
  assert written["buckets"][0]["step"]["memory"]["needed"] == 65 * 2**30
  assert all(name == name.strip() for name in written)


def test_a_price_and_an_accelerator_type(run, capsys, tmp_path):
  path = str(tmp_path / "plan.json")
  run(topology="v5litepod-4", price=2.0, spot_price=0.5, json=path)
  written = files.read_json(path)["run"]
  assert written["cost"]["total"] == 4 * written["cost"]["spot_total"] > 0
  assert written["cost"]["total"] == pytest.approx(2 * written["chip_hours"])
  assert "v5e:2x2 (v5litepod-4)" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ({"price": math.nan}, "--price must be .*price=nan"),
    ({"price": 1.0, "spot_price": math.inf}, "--spot_price must be .*=inf"),
    ({"spot_price": 1.0}, "must come with --price.*price=None"),
    ({"topology": "v5litepod-12"}, "of v5litepod-1, v5l.*='v5litepod-12'"),
    ({"topology": None}, "--topology must name a slice.*topology=None"),
    ({"measure_input": "/nowhere"}, "index.json.*directory=/nowhere"),
  ],
)
def test_what_cannot_be(run, flags, message):
  with pytest.raises(ValueError, match=message):
    run(**flags)

"""Plans of a tiny recogniser, and the search for the largest batch."""

import types

import numpy as np
import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from launch.configs import base
from launch.plan import __main__ as program
from launch.plan import environment, planning


def tiny():
  config = base.get_config()
  config.batch = 8
  config.data.buckets_seconds = (0.5,)
  config.tokenizer.kind = "character"
  config.model.fields = {
    "encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3},
    "features": {"mels": 16},
    "specaugment": {"frequency_masks": 0, "time_masks": 0},
  }
  return config


@pytest.mark.parametrize("seed", range(40))
def test_the_largest_batch_is_found(seed):
  """Against trying all, for needs that grow nearly in a straight line."""
  rng = np.random.default_rng(seed)
  base_need, slope = rng.integers(0, 500), rng.uniform(1, 200)
  wobble = rng.integers(0, 30, 5000).cumsum() * rng.integers(0, 2)
  limit = int(rng.integers(100, 20_000))
  multiple = int(rng.choice([1, 2, 3, 8]))
  tried = []

  def need(batch):
    return int(base_need + slope * batch + wobble[batch])

  def fits(batch):
    assert batch % multiple == 0 and batch not in tried
    tried.append(batch)
    return need(batch) <= limit

  found = planning.largest_batch(
    fits,
    lambda batch: {"needed": need(batch), "available": limit},
    int(rng.integers(1, 300)) * multiple,
    multiple,
  )
  assert found == 0 or need(found) <= limit
  granule = multiple * -(-8 // multiple) if found >= 8 else multiple
  assert need(found + granule) > limit
  assert len(tried) <= 20


def test_a_plan(tmp_path, monkeypatch):
  if not environment.is_ready():
    pytest.skip("no libtpu here: python -m launch.plan --setup installs it")
  options = {"cache": tmp_path, "progress": False}
  found = program.plan(tiny(), "v5e:2x2", **options)
  (bucket,) = found["buckets"]
  assert found["per_core_batch"] == 2 and found["cores"] == 4
  assert bucket["compiles"] and bucket["fits"] and bucket["clip"] == "before"
  assert bucket["suspects"] == {} and bucket["outside_scope"] == []
  memory = bucket["memory"]
  parts = ("arguments", "temporaries", "code", "outputs")
  assert memory["needed"] == sum(memory[part] for part in parts)
  assert memory["spare"] == memory["available"] - memory["needed"] > 0
  # All gradients and all norms, in float32.
  reduced = [s for k, s, _ in bucket["collectives_compiled"] if "reduce" in k]
  assert sum(reduced) >= 4 * bucket["parameters"] + 4 * 2 * 4
  assert bucket["flops"] > 0 and bucket["time"]["ideal"] > 0
  assert found["run"]["steps"] == 1000
  assert "fits" in program.report(found)
  # The second time nothing is compiled, whatever is not in the program.
  monkeypatch.delattr(environment, "compile_for_tpu")
  config = tiny()
  config.log_every = 7
  assert program.plan(config, "v5e:2x2", **options) == found


def test_a_batch_that_does_not_fit(tmp_path):
  if not environment.is_ready():
    pytest.skip("no libtpu here: python -m launch.plan --setup installs it")
  planner = planning.Planner(
    tiny(), program.topologies.parse("v5e:2x2"), None, tmp_path, False
  )
  (shape,) = program.shapes(tiny(), 2**20)
  found = planner.compile(shape)
  assert not found["fits"] and not found["compiles"]
  assert "RESOURCE_EXHAUSTED" in found["error"]
  assert found["memory"]["needed"] > found["memory"]["available"]


def test_what_is_refused(tmp_path):
  if not environment.is_ready():
    pytest.skip("no libtpu here: python -m launch.plan --setup installs it")
  config = tiny()
  config.model.name = "none such"
  with pytest.raises(ValueError, match="none such"):
    program.plan(config, "v5e:2x2", cache=tmp_path, progress=False)


@pytest.mark.parametrize(
  ("change", "arguments", "message"),
  [
    ({}, {"topology": "v5e:3x3"}, "v5e:2x4.*Received: topology='v5e:3x3'"),
    ({}, {"environment_directory": "/nowhere"}, "--setup --environment=/nowh"),
    ({"batch": 7}, {}, "number of cores, 8.*Received: batch=7"),
    ({"data": {"buckets_seconds": ()}}, {}, "give --seconds"),
    ({"tokenizer": {"kind": "word"}}, {}, "Received: tokenizer.kind='word'"),
  ],
)
def test_what_cannot_be(change, arguments, message):
  config = tiny()
  config.update(change)
  with pytest.raises(ValueError, match=message):
    program.plan(config, **{"topology": "v5e:2x4", **arguments})


class Crowded(planning.Planner):
  """A planner of a step that needs 1 GiB and 2 GiB an utterance more."""

  def __init__(self, config, topology):
    self._limit = topology.chip.memory

  def compile(self, shape):
    needed = (1 + 2 * shape.batch) * 2**30
    fits = needed <= self._limit
    return {
      "rejected": None,
      "error": None if fits else "RESOURCE_EXHAUSTED",
      "compiles": fits,
      "fits": fits,
      "parameters": 5,
      "clip": "before",
      "outside_scope": [],
      "suspects": {},
      "flops": 1,
      "compiler_flops": 1,
      "compiler_bytes": 1,
      "compiler_memory": 1,
      "seconds_to_compile": 1.0,
      "collectives": {"CrossReplicaSum": [2, 8]},
      "collectives_compiled": [["all-reduce", 8, 2]],
      "memory": {
        "needed": needed,
        "available": self._limit,
        "spare": self._limit - needed,
      },
    }


def test_what_does_not_fit_ends_with_the_batch_that_does(monkeypatch, capsys):
  monkeypatch.setattr(planning, "Planner", lambda c, t, **_: Crowded(c, t))
  if not absl_flags.FLAGS.is_parsed():
    absl_flags.FLAGS(["test"])
  flags = {"topology": "v5e:2x2", "per_core_batch": 32, "json": None}
  with flagsaver.flagsaver(**flags):
    monkeypatch.setattr(program, "_CONFIG", types.SimpleNamespace(value=tiny()))
    with pytest.raises(SystemExit) as ended:
      program.main([])
  assert ended.value.code == 2
  printed = capsys.readouterr().out
  assert "65.00 GiB needed, 15.75 GiB available: DOES NOT FIT" in printed
  assert "largest batch of a core that fits: 7" in printed

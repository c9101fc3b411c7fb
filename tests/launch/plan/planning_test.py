"""Plans of a tiny recogniser, and the search for the largest batch."""

import numpy as np
import pytest

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

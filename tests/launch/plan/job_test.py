"""Plans of runs of a tiny recogniser."""

import math

import pytest
import tensorflow as tf

from launch.plan import environment, job, planning, report, topologies
from tests.launch.plan import steps


def plan(config, cache, name="v5e:2x2", **settings):
  settings = job.Request(cache=cache, progress=False, **settings)
  return job.plan(config, topologies.parse(name), settings)


def test_a_plan(tmp_path, monkeypatch):
  if not environment.is_ready():
    pytest.skip("no libtpu here: python -m launch.plan --setup installs it")
  found = plan(steps.tiny(), tmp_path)
  (bucket,) = found.buckets
  assert found.per_core_batch == 2 and found.topology.cores == 4
  made = bucket.step
  assert found.fits and made.compiles and made.fits and made.clip == "before"
  assert made.suspects == {} and made.outside_scope == ()
  assert made.tensorflow == tf.__version__
  # Weights, Adam's two moments a weight, and a few counters and statistics.
  assert made.state_bytes > 12 * made.parameters
  memory = made.memory
  assert memory.needed == sum(
    (memory.arguments, memory.temporaries, memory.code, memory.outputs)
  )
  assert memory.spare == memory.available - memory.needed > 0
  # The step counter is counted up without one.
  assert {c.kind for c in made.collectives_compiled} == {"all-reduce"}
  # All gradients and all norms, in float32.
  reduced = [c.bytes for c in made.collectives_compiled if "reduce" in c.kind]
  assert sum(reduced) >= 4 * made.parameters + 4 * 2 * 4
  assert made.flops > 0 and bucket.time.ideal > 0
  assert found.run.steps == 1000
  said = report.report(found)
  assert "fits" in said and f"TensorFlow {tf.__version__}" in said
  # The second time nothing is compiled, whatever is not in the program.
  monkeypatch.delattr(environment, "compile_for_tpu")
  config = steps.tiny()
  config.log_every = 7
  assert plan(config, tmp_path) == found


@pytest.mark.parametrize("name", ["v5e:1x1", "v6e-1"])
def test_one_chip_with_microbatches(tmp_path, name):
  if not environment.is_ready():
    pytest.skip("no libtpu here: python -m launch.plan --setup installs it")
  config = steps.tiny()
  config.clipping.microbatches = 2
  found = plan(config, tmp_path, name)
  (bucket,) = found.buckets
  assert found.fits and bucket.step.clip == "before"
  assert found.per_core_batch == 8 and found.topology.hosts == 1
  assert bucket.time.all_reduce == 0


def test_what_is_refused(tmp_path):
  if not environment.is_ready():
    pytest.skip("no libtpu here: python -m launch.plan --setup installs it")
  config = steps.tiny()
  config.model.name = "none such"
  with pytest.raises(ValueError, match="none such"):
    plan(config, tmp_path)


@pytest.mark.parametrize(
  ("change", "settings", "message"),
  [
    ({}, {"environment": "/nowhere"}, "--setup --environment=/nowh"),
    ({"batch": 7}, {}, "number of cores, 8.*Received: batch=7"),
    ({"data": {"buckets_seconds": ()}}, {}, "give --seconds"),
    ({"tokenizer": {"kind": "word"}}, {}, "Received: tokenizer.kind='word'"),
    ({}, {"effort": math.nan}, "from -1 to 1. Received: effort=nan"),
    ({}, {"seconds": math.inf}, "finite.*Received: seconds=inf"),
    ({}, {"seconds": math.nan}, "finite.*Received: seconds=nan"),
  ],
)
def test_what_cannot_be(tmp_path, change, settings, message):
  config = steps.tiny()
  config.update(change)
  with pytest.raises(ValueError, match=message):
    plan(config, tmp_path, "v5e:2x4", **settings)


def test_shapes():
  topology = topologies.parse("v5e:2x2")
  (shape,) = job.shapes(steps.tiny(), 8 // topology.cores)
  assert shape == planning.Shape(2, 8000, 10, 32)

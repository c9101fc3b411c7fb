"""Plans of a tiny recogniser."""

import math
import os
import pathlib
import signal
import types

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from launch.configs import base
from launch.plan import __main__ as program
from launch.plan import environment, planning
from tests.launch.plan import findings_test
from tf_pcc import files


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
    ({}, {"effort": math.nan}, "from -1 to 1. Received: effort=nan"),
    ({}, {"seconds": math.inf}, "finite.*Received: seconds=inf"),
    ({}, {"seconds": math.nan}, "finite.*Received: seconds=nan"),
  ],
)
def test_what_cannot_be(change, arguments, message):
  config = tiny()
  config.update(change)
  with pytest.raises(ValueError, match=message):
    program.plan(config, **{"topology": "v5e:2x4", **arguments})


class Children:
  """Stands for the tracer and the compiler; keeps what they were asked."""

  def __init__(self, monkeypatch):
    self.facts = {"rejected": None, "suspects": {}}
    self.compiled = {"error": "INTERNAL: out of luck"}
    self.meanwhile = lambda: None
    self.modules, self.folders = [], []
    monkeypatch.setattr(environment, "require", lambda directory: directory)
    monkeypatch.setattr(environment, "run_child", self._run)
    monkeypatch.setattr(environment, "compile_for_tpu", self._compile)

  def _run(self, command, log, *_, **__):
    *_, module, request = command
    folder = pathlib.Path(files.read_json(request)["directory"])
    self.modules.append(module.rpartition(".")[2])
    if module == "launch.plan.refusal":
      files.write_json(str(folder / "where.json"), {"tf.Where": ["a/b"]})
    else:
      facts = findings_test.FACTS | {"flops_unknown": []} | self.facts
      files.write_json(str(folder / "step.json"), facts)
    return 0

  def _compile(self, program, *_):
    self.folders.append(program.parent)
    self.meanwhile()
    return {"peak_memory": 1, "cpu_seconds": 1.0, **self.compiled}


@pytest.fixture
def children(monkeypatch):
  return Children(monkeypatch)


def planned(tmp_path, batch=2, progress=False):
  planner = planning.Planner(
    tiny(), program.topologies.parse("v5e:2x2"), "", tmp_path, progress
  )
  (shape,) = program.shapes(tiny(), batch)
  return planner.compile(shape)


def test_two_at_the_same_step_do_not_meet(tmp_path, children):
  """The second begins and ends while the first compiles."""
  children.compiled = findings_test.compiled(tmp_path)

  def second():
    children.meanwhile = lambda: None
    planned(tmp_path / "cache")
    assert children.folders[0].exists() and not children.folders[1].exists()

  children.meanwhile = second
  assert planned(tmp_path / "cache")["compiles"]
  assert len(children.folders) == 2
  (kept,) = (tmp_path / "cache").iterdir()
  # What the older plans left under its name is not in the way either.
  folder = kept.with_suffix(".part")
  folder.mkdir()
  kept.unlink()
  assert planned(tmp_path / "cache")["compiles"] and folder.exists()


def test_a_failure_is_not_for_good(tmp_path, children):
  assert planned(tmp_path)["error"] == "INTERNAL: out of luck"
  assert not list(tmp_path.iterdir())
  children.compiled = findings_test.compiled(tmp_path)
  found = planned(tmp_path / "cache")
  assert found["compiles"]
  (kept,) = (tmp_path / "cache").iterdir()
  assert planned(tmp_path / "cache") == found and len(children.folders) == 2
  # Damaged, it is made anew.
  kept.write_text("{}")
  remade = planned(tmp_path / "cache")
  assert remade["memory"] == found["memory"] and len(children.folders) == 3


def test_a_compiler_that_dies_leaves_its_log(tmp_path, children):
  def killed():
    for name in ("step.mlir", "compiled.log"):
      (children.folders[-1] / name).touch()
    raise RuntimeError("XLA's work ended with exit code -9")

  children.meanwhile = killed
  with pytest.raises(RuntimeError, match="-9"):
    planned(tmp_path)
  (folder,) = tmp_path.iterdir()
  assert [file.name for file in folder.iterdir()] == ["compiled.log"]


def test_an_interrupt_leaves_nothing(tmp_path, children):
  def signalled():
    os.kill(os.getpid(), signal.SIGTERM)

  children.meanwhile = signalled
  with pytest.raises(KeyboardInterrupt):
    planned(tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_refused_step_says_why_and_where(tmp_path, children):
  children.facts = {
    "rejected": "the bridge's words",
    "suspects": {"a shape that is not static": ["tf.Where"]},
  }
  options = {"cache": tmp_path, "progress": False}
  found = program.plan(tiny(), "v5e:2x2", **options)
  assert children.modules == ["program", "refusal"] and not children.folders
  report = program.report(found)
  assert "refused: the bridge's words" in report
  assert "a shape that is not static: tf.Where" in report
  assert "tf.Where is a/b" in report
  # It was the step's fault, and is kept.
  assert program.plan(tiny(), "v5e:2x2", **options) == found
  assert len(children.modules) == 2


def test_a_step_that_is_taken_is_not_looked_at_twice(tmp_path, children):
  planned(tmp_path)
  assert children.modules == ["program"]


def test_a_verdict_is_said_at_once(tmp_path, children, capsys):
  children.compiled = {"error": findings_test.FULL}
  planned(tmp_path, batch=7, progress=True)
  assert (
    "v5e:2x2, 7 a core, 0.5 s: DOES NOT FIT, 20.00 GiB of HBM needed, "
    "15.75 GiB available"
  ) in capsys.readouterr().err
  planned(tmp_path, batch=7)
  assert not capsys.readouterr().err


@pytest.mark.parametrize(
  ("hours", "said"),
  [
    (0.0, "0 s"),
    (0.0001, "0.360 s"),
    (0.01, "36.0 s"),
    (0.25, "15.0 min"),
    (1.5, "1.50 h"),
    (1234.56, "1,234.6 h"),
  ],
)
def test_short_runs_have_digits(hours, said):
  run = {"steps": 1, "hours": hours, "chip_hours": hours}
  run["hours_at_the_roofline"] = hours
  found = {"topology": "", "accelerator_type": "", "chips": 4, "cores": 4}
  found |= {"per_core_batch": 2, "policy": "", "clipping": {"method": ""}}
  report = program.report({**found, "buckets": [], "run": run})
  assert f"1 steps, {said}, " in report and f"({said} at the roofl" in report


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
  assert "needed is what the compiler's complaint names" in printed

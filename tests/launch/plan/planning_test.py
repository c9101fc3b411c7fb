"""What the planner does with a tracer and a compiler, real and in place."""

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from launch.plan import (
  environment,
  job,
  planning,
  report,
  topologies,
)
from tests.launch.plan import findings_test, steps
from tf_pcc import files


def plan(config, cache, name="v5e:2x2", **settings):
  settings = job.Request(cache=cache, progress=False, **settings)
  return job.plan(config, topologies.parse(name), settings)


def test_a_batch_that_does_not_fit(tmp_path):
  if not environment.is_ready():
    pytest.skip("no libtpu here: python -m launch.plan --setup installs it")
  planner = planning.Planner(
    steps.tiny(), topologies.parse("v5e:2x2"), None, tmp_path, False
  )
  (shape,) = job.shapes(steps.tiny(), 2**20)
  found = planner.compile(shape)
  assert not found.fits and not found.compiles
  assert "RESOURCE_EXHAUSTED" in found.error
  assert found.memory.needed > found.memory.available


class Children:
  """Stands for the tracer and the compiler; keeps what they were asked."""

  def __init__(self, monkeypatch):
    self.facts = steps.TRACED
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
      facts = dataclasses.asdict(self.facts)
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
    steps.tiny(), topologies.parse("v5e:2x2"), "", tmp_path, progress
  )
  (shape,) = job.shapes(steps.tiny(), batch)
  return planner.compile(shape)


def test_two_at_the_same_step_do_not_meet(tmp_path, children):
  """The second begins and ends while the first compiles."""
  children.compiled = findings_test.compiled(tmp_path)

  def second():
    children.meanwhile = lambda: None
    planned(tmp_path / "cache")
    assert children.folders[0].exists() and not children.folders[1].exists()

  children.meanwhile = second
  assert planned(tmp_path / "cache").compiles
  assert len(children.folders) == 2
  (kept,) = (tmp_path / "cache").iterdir()
  # What the older plans left under its name is not in the way either.
  folder = kept.with_suffix(".part")
  folder.mkdir()
  kept.unlink()
  assert planned(tmp_path / "cache").compiles and folder.exists()


def test_a_failure_is_not_for_good(tmp_path, children):
  assert planned(tmp_path).error == "INTERNAL: out of luck"
  assert not list(tmp_path.iterdir())
  children.compiled = findings_test.compiled(tmp_path)
  found = planned(tmp_path / "cache")
  assert found.compiles
  (kept,) = (tmp_path / "cache").iterdir()
  assert planned(tmp_path / "cache") == found and len(children.folders) == 2
  # Damaged, it is made again.
  kept.write_text("{}")
  remade = planned(tmp_path / "cache")
  assert remade.memory == found.memory and len(children.folders) == 3


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
  children.facts = dataclasses.replace(
    steps.TRACED,
    rejected="the bridge's words",
    suspects={"a shape that is not static": ("tf.Where",)},
  )
  found = plan(steps.tiny(), tmp_path)
  assert children.modules == ["program", "refusal"] and not children.folders
  said = report.report(found)
  assert "refused: the bridge's words" in said
  assert "a shape that is not static: tf.Where" in said
  assert "tf.Where is a/b" in said
  # It was the step's fault, and is kept.
  assert plan(steps.tiny(), tmp_path) == found
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


def imported_by_the_program():
  """Files of this checkout that tracing a step loads, in a fresh process."""
  code = (
    "import sys, launch.plan.program, launch.plan.refusal\n"
    "for m in list(sys.modules.values()):\n"
    "  print(getattr(m, '__file__', None))\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    check=True,
    cwd=planning._ROOT,
  )
  paths = {pathlib.Path(line) for line in done.stdout.splitlines()}
  # A virtual environment may stand in the checkout.
  ours = [planning._ROOT / name for name in ("launch", "models", "tf_pcc")]
  return {p for p in paths if any(p.is_relative_to(o) for o in ours)}


def test_the_key_holds_all_that_makes_the_program():
  packages = {
    planning._ROOT / "launch" / name / "__init__.py"
    for name in (".", "plan", "runs", "configs")
  }
  # How a program starts and ends is not in what it compiles.
  packages.add(planning._ROOT / "launch/startup.py")
  loaded = imported_by_the_program() - packages
  assert len(loaded) > 40
  missing = sorted(str(p) for p in loaded - set(planning.sources()))
  assert missing == []


def test_a_file_that_was_moved_is_noticed(tmp_path):
  for path in planning.sources():
    copy = tmp_path / path.relative_to(planning._ROOT)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(path.read_bytes())
  before = planning.digest(tmp_path)
  assert before == planning.digest(planning._ROOT)
  # Into a folder below, with the same content.
  layer = tmp_path / "models/layers/attention.py"
  (layer.parent / "parts").mkdir()
  moved = layer.rename(layer.parent / "parts" / "attention.py")
  assert moved in planning.sources(tmp_path)
  renamed = planning.digest(tmp_path)
  moved.write_text("changed")
  assert len({before, renamed, planning.digest(tmp_path)}) == 3
  named = tmp_path / "launch/plan/tracing.py"
  named.rename(named.with_name("traces.py"))
  with pytest.raises(FileNotFoundError, match="planning.py.*tracing.py"):
    planning.sources(tmp_path)
  named.with_name("traces.py").rename(named)
  shutil.rmtree(tmp_path / "tf_pcc/data")
  with pytest.raises(FileNotFoundError, match="tf_pcc/data"):
    planning.sources(tmp_path)

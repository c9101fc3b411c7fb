"""The compiler's environment, and what is said when it fails."""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import types

import pytest

from launch.plan import environment


def ready(folder, python):
  """An environment whose Python is a shell script."""
  (folder / "bin").mkdir()
  script = folder / "bin" / "python"
  script.write_text(f"#!/bin/sh\n{python}\n")
  script.chmod(0o755)
  packages = {"packages": environment.PACKAGES}
  (folder / "ready.json").write_text(json.dumps(packages))
  return str(folder)


def test_ready_or_not(tmp_path):
  assert not environment.is_ready(tmp_path)
  path = tmp_path / "ready.json"
  for content in ("{", '{"packages": ["jax==0.1"]}', "{}"):
    path.write_text(content)
    assert not environment.is_ready(tmp_path)
  with pytest.raises(ValueError, match=f"--setup --environment={tmp_path} "):
    environment.require(tmp_path)
  assert environment.is_ready(ready(tmp_path, ""))
  assert environment.require(tmp_path) == tmp_path


def test_setup_is_done_once(tmp_path, monkeypatch):
  commands = []

  def run(command, **_):
    commands.append(command)
    failed = len(commands) == 1
    return types.SimpleNamespace(returncode=int(failed), stderr="no network")

  monkeypatch.setattr(environment.venv, "create", lambda *_, **__: None)
  monkeypatch.setattr(subprocess, "run", run)
  with pytest.raises(OSError, match="pip install jax.* exit code 1: no netw"):
    environment.setup(tmp_path)
  assert not environment.is_ready(tmp_path)
  # The second call finishes what the first began, the third has nothing to do.
  environment.setup(tmp_path)
  environment.setup(tmp_path)
  assert len(commands) == 2
  assert commands[1][1:] == ["-m", "pip", "install", *environment.PACKAGES]


def test_an_older_python(tmp_path, monkeypatch):
  monkeypatch.setattr(environment.sys, "version_info", (3, 10, 4))
  with pytest.raises(OSError, match="needs Python 3.11 or later"):
    environment.setup(tmp_path)


def test_what_the_compiler_writes_is_read(tmp_path):
  write = 'echo "{\\"devices\\": 8, \\"effort\\": $6}" > "$7"; sleep 0.3'
  folder = ready(tmp_path, write)
  seen = []
  found = environment.compile_for_tpu(
    "p.mlir", "v5e:2x4", tmp_path / "r.json", folder, seen.append, -0.5
  )
  assert found == {"devices": 8, "effort": -0.5}
  assert seen and max(seen) < 60


def test_a_compiler_that_dies(tmp_path):
  folder = ready(tmp_path, "echo out of luck; exit 3")
  with pytest.raises(RuntimeError, match="exit code 3.*(?s:.*)out of luck"):
    environment.compile_for_tpu("p", "v5e:2x4", tmp_path / "r.json", folder)


@pytest.fixture
def interruptible():
  """Python's own handler: a shell's background jobs ignore Ctrl-C."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_no_child_outlives_a_signal(tmp_path, number):
  before = signal.getsignal(number)
  child = "echo $$ > part; mv part pid; exec sleep 60"

  def watch(_):
    if (tmp_path / "pid").exists():
      os.kill(os.getpid(), number)

  with pytest.raises(KeyboardInterrupt):
    environment.run_child(
      ["sh", "-c", child], tmp_path / "log", watch, cwd=tmp_path
    )
  with pytest.raises(ProcessLookupError):
    os.kill(int((tmp_path / "pid").read_text()), 0)
  assert signal.getsignal(number) is before


def test_children_of_threads(tmp_path):
  """Where Python allows no handler."""
  with concurrent.futures.ThreadPoolExecutor() as pool:
    done = pool.submit(
      environment.run_child, ["sh", "-c", "echo a; exit 3"], tmp_path / "log"
    )
    assert done.result() == 3
  assert (tmp_path / "log").read_text() == "a\n"


def test_the_worker_has_the_writer_without_tensorflow(tmp_path):
  """As `xla_worker` loads it, which itself needs JAX to be imported."""
  worker = pathlib.Path(environment.__file__).with_name("xla_worker.py")
  lines = worker.read_text().splitlines()
  start = lines.index('_PACKAGE = types.ModuleType("tf_pcc")')
  stop = lines.index('files = importlib.import_module("tf_pcc.files")') + 1
  code = [
    "import importlib, pathlib, sys, types",
    f"__file__ = {str(worker)!r}",
    *lines[start:stop],
    "files.write_json(sys.argv[1], {'a': 1})",
    "loaded = {name.partition('.')[0] for name in sys.modules}",
    "assert not loaded & {'tensorflow', 'keras', 'absl'}, loaded",
  ]
  path = tmp_path / "a.json"
  subprocess.run(
    [sys.executable, "-I", "-c", "\n".join(code), str(path)], check=True
  )
  assert json.loads(path.read_text()) == {"a": 1}

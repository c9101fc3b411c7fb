"""The peers' folder: whole or not at all, and named where it is missing."""

import configparser
import json
import pathlib
import subprocess
import sys
import types

import pytest

from launch.benchmark.peers import packages

ROOT = pathlib.Path(__file__).resolve().parents[4]


def test_ready_or_not(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, "path", list(sys.path))
  path = tmp_path / "ready.json"
  for content in ("{", '{"packages": ["torch==0.1"]}', "{}"):
    path.write_text(content)
    assert not packages.is_ready(tmp_path)
  with pytest.raises(ValueError, match=f"--setup --environment={tmp_path} "):
    packages.use(tmp_path)
  path.write_text(json.dumps({"packages": packages.PACKAGES}))
  packages.use(tmp_path)
  assert sys.path[-1] == str(tmp_path)


def test_setup_is_whole_or_not_at_all(tmp_path, monkeypatch):
  commands = []

  def pip(command, **_):
    commands.append(command)
    target = pathlib.Path(command[command.index("--target") + 1])
    assert not target.exists()
    target.mkdir()
    (target / "torch").write_text(str(len(commands)))
    failed = len(commands) == 1
    return types.SimpleNamespace(returncode=int(failed), stderr="no space left")

  monkeypatch.setattr(subprocess, "run", pip)
  folder = tmp_path / "peers"
  with pytest.raises(OSError, match="exit code 1: no space left"):
    packages.setup(folder)
  assert not folder.exists()
  for _ in range(2):
    assert packages.setup(folder) == str(folder)
  assert (folder / "torch").read_text() == "2" == str(len(commands))
  assert packages.is_ready(folder)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["peers"]
  assert commands[1][-len(packages.PACKAGES) :] == list(packages.PACKAGES)


def test_setup_leaves_the_folders_of_others_alone(tmp_path):
  (tmp_path / "thesis.txt").write_text("mine")
  with pytest.raises(ValueError, match=f"Received: environment={tmp_path}"):
    packages.setup(tmp_path)
  assert (tmp_path / "thesis.txt").exists()


def test_who_is_missing_is_named(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / "broken_peer.py").write_text("1 / 0")
  for name in ("no_such_peer", "broken_peer"):
    with pytest.raises(packages.Missing, match=rf"^{name} .*peers --setup"):
      packages.require(name)
  assert packages.require("json") is json
  assert packages.version("numpy") and not packages.version("no-such-peer")


def test_the_extra_brings_the_same():
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  lines = config["options.extras_require"]["peers"].split()
  pinned = {p.partition("==")[0] for p in packages.PACKAGES}
  # jax brings jaxlib.
  assert {*lines, "jaxlib"} - {"tf_pcc[train]"} == pinned

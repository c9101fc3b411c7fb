"""A missing package is named with the extra that brings it."""

import ast
import configparser
import pathlib
import re
import subprocess
import sys

import pytest

from tf_pcc import extras

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = [
  p for d in ("tf_pcc", "models", "launch") for p in ROOT.glob(f"{d}/**/*.py")
]
# Names of modules that differ from those of their packages.
PACKAGES = {
  "apache_beam": "apache-beam",
  "apache_beam.options.pipeline_options": "apache-beam",
  "google.auth.transport.urllib3": "google-auth",
  "google_crc32c": "google-crc32c",
  "py_nanotts": "py-nanotts",
}


def extra_packages():
  """Packages of each extra of setup.cfg, with those of the extras it names."""
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  listed = {
    name: value.split("\n")[1:]
    for name, value in config["options.extras_require"].items()
  }

  def expand(lines):
    for line in lines:
      own = re.fullmatch(r"tf_pcc\[(.*)\]", line)
      if own:
        yield from (p for e in own[1].split(",") for p in expand(listed[e]))
      else:
        yield re.match(r"[\w-]+", line)[0]

  return {name: set(expand(lines)) for name, lines in listed.items()}


def loads():
  """(file, module, extra) of every call of `extras.load`."""
  for path in SOURCES:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
      if isinstance(node, ast.Call) and ast.unparse(node.func) == "extras.load":
        module, _, extra = node.args
        yield path.name, module.value, extra.value


def test_every_extra_brings_what_is_said_of_it():
  found = list(loads())
  assert len(found) > 8
  packages = extra_packages()
  wrong = [
    call
    for call in found
    if call[2]
    and PACKAGES.get(call[1], call[1]).partition(".")[0]
    not in packages[call[2]]
  ]
  assert wrong == []


def test_the_core_is_small():
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  lines = config["options"]["install_requires"].split("\n")[1:]
  assert {re.match(r"[\w-]+", line)[0] for line in lines} == {
    *("absl-py", "keras", "numpy"),
    *("tensorflow", "tensorflow-io", "tensorflow-text"),
  }


def test_load_imports():
  assert extras.load("os.path", "A test", "audit").join("a", "b") == "a/b"


def test_what_is_missing_is_named_in_one_sentence(monkeypatch):
  monkeypatch.setitem(sys.modules, "jiwer", None)
  with pytest.raises(ImportError, match=r"^A test needs jiwer: pip install 't"):
    extras.load("jiwer", "A test", "audit")
  monkeypatch.setitem(sys.modules, "scipy.signal", None)
  with pytest.raises(ImportError, match=r"needs scipy: .*\[speech\]'\. Rec"):
    extras.load("scipy.signal", "A test", "speech")
  with pytest.raises(ImportError, match="pip install no-such-thing. Received"):
    extras.load("no_such_thing", "A test", "")


@pytest.mark.parametrize(
  ("blocked", "code", "message"),
  [
    ("scipy", "import tf_pcc.audit", "tf_pcc.audit needs scipy: pip install"),
    ("ml_collections", "import launch.train", "pip install -e '.[train]'"),
  ],
)
def test_without_an_extra(blocked, code, message):
  """The audit and the programs say it where they are imported."""
  block = (
    "import importlib.abc, sys\n"
    "class Blocker(importlib.abc.MetaPathFinder):\n"
    "  def find_spec(self, name, path, target=None):\n"
    f"    if name.split('.')[0] in ('tensorflow', {blocked!r}):\n"
    "      raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
    "sys.meta_path.insert(0, Blocker())\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", block + code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode != 0
  assert message in done.stderr

"""The wheel is built, checked, installed and used outside the checkout."""

import configparser
import json
import os
import pathlib
import re
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile

import pytest

import tf_pcc
from tests.audit.import_test import AUDIT

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What a user of the optimizer does, with a model that is no recogniser.
TRAINING = """
import pathlib, sys
import keras, numpy as np, tensorflow as tf
import tf_pcc

assert pathlib.Path(sys.prefix) in pathlib.Path(tf_pcc.__file__).parents
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
  cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(
  ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice())
with strategy.scope():
  model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
  optimizer = tf_pcc.PerCoreClipping("adam", bound=tf_pcc.MinBound())
  model.compile(optimizer, loss="mse")
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(8)
logs = model.fit(
  data, epochs=3, verbose=0, callbacks=[tf_pcc.ClippingMonitor()]).history
assert logs["loss"][-1] < logs["loss"][0], logs
assert logs["clipped_fraction"][-1] == 0.5
model.save("model.keras")
keras.saving.load_model("model.keras")
"""
REPORT = f"""{AUDIT}
audit.write_report("report", results, plots=False)
"""


def _run(*command, cwd):
  done = subprocess.run(
    [str(word) for word in command],
    cwd=cwd,
    # Or a checkout on the path would be imported instead of the wheel.
    env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    capture_output=True,
    text=True,
    timeout=900,
  )
  assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
  return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  """A folder with the wheel and the source distribution."""
  for module in ("build", "twine"):
    pytest.importorskip(module, reason="the extra [dev] is not installed")
  folder = tmp_path_factory.mktemp("built")
  source = folder / "source"
  source.mkdir()
  # setuptools writes into the tree that it builds.
  for name in ("CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md"):
    shutil.copy(ROOT / name, source)
  for name in ("pyproject.toml", "setup.cfg"):
    shutil.copy(ROOT / name, source)
  for name in ("tf_pcc", "models", "launch", "tests"):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / name, source / name, ignore=ignored)
  _run(sys.executable, "-m", "build", "-o", folder / "dist", ".", cwd=source)
  return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built):
  (path,) = built.glob("*.whl")
  return path


def test_twine_finds_nothing(built):
  files = sorted(built.iterdir())
  assert len(files) == 2
  _run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=built)


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
  names = zipfile.ZipFile(wheel).namelist()
  assert {name.partition("/")[0] for name in names} == {
    "tf_pcc",
    f"tf_pcc-{tf_pcc.__version__}.dist-info",
  }
  kept = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "tf_pcc").rglob("*")
    if path.is_file() and path.suffix not in (".pyc", ".md")
  }
  assert kept <= set(names)


def test_the_source_holds_the_changes(built):
  (path,) = built.glob("*.tar.gz")
  with tarfile.open(path) as archive:
    names = archive.getnames()
  assert f"tf_pcc-{tf_pcc.__version__}/CHANGELOG.md" in names


def test_the_changes_name_this_version():
  found = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
  assert found[0] == tf_pcc.__version__ and found[-1] == "0.1.0"


def test_the_wheel_works_outside_the_checkout(wheel, tmp_path):
  """Its dependencies are lent by this environment, to save their download."""
  venv = tmp_path / "venv"
  _run(sys.executable, "-m", "venv", venv, cwd=tmp_path)
  python = venv / "bin" / "python"
  (packages,) = venv.glob("lib/python*/site-packages")
  lent = "\n".join(site.getsitepackages())
  (packages / "lent.pth").write_text(lent)
  _run(python, "-m", "pip", "install", "-q", "--no-deps", wheel, cwd=tmp_path)
  _run(
    python,
    "-W",
    "error::DeprecationWarning:tf_pcc",
    "-c",
    TRAINING,
    cwd=tmp_path,
  )
  _run(python, "-c", REPORT, cwd=tmp_path)
  assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.slow
def test_the_core_installs_alone_and_names_what_is_missing(wheel, tmp_path):
  """pip brings the dependencies, into an environment that has nothing."""
  _run(sys.executable, "-m", "venv", "venv", cwd=tmp_path)
  python = tmp_path / "venv" / "bin" / "python"
  _run(python, "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
  listed = _run(python, "-m", "pip", "list", "--format=json", cwd=tmp_path)
  names = {row["name"].lower() for row in json.loads(listed)}
  assert {"tensorflow", "keras", "tensorflow-text"} <= names
  assert not names & {"scipy", "soundfile", "jiwer", "sentencepiece", "jinja2"}
  _run(python, "-c", TRAINING, cwd=tmp_path)
  done = subprocess.run(
    [python, "-c", REPORT], cwd=tmp_path, capture_output=True, text=True
  )
  last = done.stderr.splitlines()[-1]
  assert last.startswith("ImportError: tf_pcc.audit needs scipy: pip install")
  extra = re.search(r"pip install '(tf_pcc\[audit\])'", last)[1]
  # Found among the installed packages: no index has to know it.
  _run(python, "-m", "pip", "install", "-q", extra, cwd=tmp_path)
  _run(python, "-c", REPORT, cwd=tmp_path)


def test_classifiers_name_the_supported_pythons():
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  text = config["metadata"]["classifiers"]
  minors = [int(m) for m in re.findall(r":: 3\.(\d+)$", text, re.M)]
  oldest, last = re.findall(r"3\.(\d+)", config["options"]["python_requires"])
  assert minors == list(range(int(oldest), int(last)))

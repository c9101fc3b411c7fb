"""Unfit versions are refused in one sentence, untested ones are warned of."""

import ast
import os
import pathlib
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_pcc
from tf_pcc import compatibility

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOOD = {
  "python": "3.13",
  "tensorflow": "2.21.0",
  "keras": "3.15.1",
  "numpy": "2.4.6",
}
SUPPORTED = (
  "tf_pcc needs Python 3.10 to 3.13, TensorFlow 2.17 to 2.21, "
  "Keras 3.10 to 3.15, NumPy 1.26 to 2.5."
)


@pytest.mark.parametrize(
  "found",
  [
    GOOD,
    {},
    {"python": "3.10", "tensorflow": "2.17.1", "numpy": "1.26.4"},
    {"tensorflow": "2.18.0", "numpy": "2.0.2", "keras": "3.10.0"},
  ],
)
def test_supported_versions_are_quiet(found):
  assert compatibility.complaint(found) == ""
  assert compatibility.untested(found) == ""


@pytest.mark.parametrize(
  ("name", "version"),
  [
    ("python", "3.9"),
    ("tensorflow", "2.15.1"),
    ("keras", "2.15.0"),
    ("keras", "3.9.2"),
    ("numpy", "1.24.4"),
  ],
)
def test_old_versions_are_refused(name, version):
  said = compatibility.complaint({**GOOD, name: version})
  assert said == f"{SUPPORTED} Received: {name}=={version}"


def test_keras_2_of_tensorflow_is_refused():
  said = compatibility.complaint(GOOD, legacy_keras=True)
  assert said.startswith(SUPPORTED)
  assert said.endswith("Received: TF_USE_LEGACY_KERAS=1")


def test_tensorflow_217_needs_numpy_1():
  said = compatibility.complaint({"tensorflow": "2.17.1", "numpy": "2.1.3"})
  assert said.endswith("tensorflow==2.17.1 and numpy==2.1.3")


@pytest.mark.parametrize(
  ("changed", "named"),
  [
    ({"tensorflow": "2.22.0-dev20260101"}, "tensorflow==2.22.0-dev20260101"),
    ({"python": "3.14", "keras": "4.0.0"}, "python==3.14, keras==4.0.0"),
    ({"numpy": "1.26.4"}, "tensorflow==2.21.0 and numpy==1.26.4"),
  ],
)
def test_untested_versions_are_named(changed, named):
  found = {**GOOD, **changed}
  assert compatibility.complaint(found) == ""
  said = compatibility.untested(found)
  assert said.startswith(SUPPORTED.replace("needs", "was tested with"))
  assert said.endswith(f"Received: {named}")


def test_this_environment_is_read_right():
  found = compatibility.installed()
  assert found["keras"] == keras.__version__
  assert found["numpy"] == np.__version__
  assert compatibility.parse(found["tensorflow"]) == compatibility.parse(
    tf.__version__
  )


def test_an_untested_version_warns(monkeypatch):
  monkeypatch.setattr(
    compatibility, "installed", lambda: {"tensorflow": "2.99.0"}
  )
  with pytest.warns(UserWarning, match="tensorflow==2.99.0"):
    compatibility.check()
  monkeypatch.setattr(
    compatibility, "installed", lambda: {"tensorflow": "2.20.0"}
  )
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    compatibility.check()


def _import(python, **environment):
  return subprocess.run(
    [python, "-c", "import tf_pcc"],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_legacy_keras_ends_the_import():
  done = _import(sys.executable, TF_USE_LEGACY_KERAS="1")
  assert done.returncode
  assert done.stderr.splitlines()[-1].startswith("ImportError: tf_pcc needs")


def test_an_old_python_can_read_what_refuses_it():
  for name in ("__init__", "compatibility"):
    code = (ROOT / "tf_pcc" / f"{name}.py").read_text("utf-8")
    ast.parse(code, feature_version=(3, 8))


def test_an_old_python_ends_the_import():
  places = [
    *pathlib.Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"),
    pathlib.Path("/usr/bin/python3.9"),
  ]
  old = next((place for place in places if place.exists()), None)
  if old is None:
    pytest.skip("Python 3.9 is not installed")
  done = _import(old)
  last = done.stderr.splitlines()[-1]
  assert last.startswith(f"ImportError: {SUPPORTED} Received: python==3.")


class _Foreign:
  """Stands in for tf_keras.optimizers.Adam: no subclass of Keras 3's."""


@pytest.mark.parametrize(
  "make",
  [
    lambda: tf_pcc.PerCoreClipping(_Foreign(), bound=1.0),
    lambda: tf_pcc.PerCoreModel().compile(_Foreign()),
  ],
)
def test_an_optimizer_of_keras_2_is_refused(make):
  with pytest.raises(ValueError, match="one of Keras 3 .*_Foreign"):
    make()


def test_the_import_is_cheap_beside_keras():
  """No package that Keras has not loaded, but for our own."""
  code = (
    "import keras, sys; before = set(sys.modules); import tf_pcc\n"
    "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    check=True,
    timeout=120,
  )
  assert set(done.stdout.split()) - sys.stdlib_module_names == {"tf_pcc"}


def _python(code, **environment):
  return subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.parametrize("missing", ["tensorflow", "keras"])
def test_a_missing_library_is_named_where_it_is_needed(missing):
  code = f"import sys; sys.modules[{missing!r}] = None\n"
  done = _python(code + "import tf_pcc, tf_pcc.audit; print(tf_pcc.__all__)")
  assert done.stdout == "[]\n", done.stderr
  done = _python(code + "from tf_pcc import PerCoreClipping")
  assert done.returncode == 1
  last = done.stderr.splitlines()[-1]
  assert last.startswith("ImportError: tf_pcc's optimizer and model need")
  assert f"Received: no module named '{missing}" in last


def test_another_backend_is_named_where_it_matters():
  code = "import tf_pcc.audit, sys; assert 'keras' not in sys.modules\n"
  done = _python(code + "tf_pcc.MinBound", KERAS_BACKEND="jax")
  last = done.stderr.splitlines()[-1]
  assert "need Keras' TensorFlow backend" in last
  assert last.endswith("Received: jax")
  assert (
    "no attribute 'other'"
    in _python("import tf_pcc; tf_pcc.other", KERAS_BACKEND="jax").stderr
  )


def test_a_class_is_no_optimizer():
  with pytest.raises(ValueError, match="call it. Received: optimizer=Adam$"):
    tf_pcc.PerCoreClipping(keras.optimizers.Adam, tf_pcc.MinBound())

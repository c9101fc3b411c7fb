"""Which Python, TensorFlow, Keras and NumPy this package works with.

Looked at when the package is imported, before TensorFlow is: an unfit version
would fail much later, with a message about something else. The versions come
from the installed packages' metadata, which costs a few milliseconds. This file
must be readable for Pythons that are too old.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Mapping

# Oldest that works, newest that the tests ran with.
PYTHON = ((3, 10), (3, 13))
VERSIONS = {
  "tensorflow": ((2, 17), (2, 21)),
  "keras": ((3, 10), (3, 15)),
  "numpy": ((1, 26), (2, 5)),
}
# From here on TensorFlow's wheels are built with NumPy 2.
_NUMPY_2 = (2, 18)
_TENSORFLOWS = (
  "tensorflow",
  "tensorflow-cpu",
  "tensorflow-tpu",
  "tensorflow-gpu",
  "tensorflow-intel",
  "tensorflow-macos",
  "tf-nightly",
)


def check() -> None:
  """Refuses what does not work, and warns of what was never tested.

  Raises:
    ImportError: If Python, TensorFlow, Keras or NumPy is too old, or if
      TF_USE_LEGACY_KERAS makes TensorFlow use Keras 2.
  """
  found = {"python": "{}.{}".format(*sys.version_info), **installed()}
  legacy = os.environ.get("TF_USE_LEGACY_KERAS", "").lower()
  wrong = complaint(found, legacy in ("1", "true"))
  if wrong:
    raise ImportError(wrong)
  newer = untested(found)
  if newer:
    warnings.warn(newer, stacklevel=3)


def foreign_backend(name: str | None = None) -> str:
  """What is wrong with Keras' backend.

  Args:
    name: of the backend. Default: that of KERAS_BACKEND, if it is set.

  Returns:
    One sentence, or "" if it is TensorFlow.
  """
  name = name or os.environ.get("KERAS_BACKEND") or "tensorflow"
  if name == "tensorflow":
    return ""
  return (
    "tf_pcc's optimizer and model need Keras' TensorFlow backend: set "
    f"KERAS_BACKEND=tensorflow before Keras is imported. Received: {name}"
  )


def installed() -> dict[str, str]:
  """Versions of the installed packages of `VERSIONS`, dict str -> str."""
  found = {}
  for name in VERSIONS:
    # TensorFlow's wheels for a machine have names of their own.
    for package in _TENSORFLOWS if name == "tensorflow" else (name,):
      try:
        found[name] = importlib.metadata.version(package)
        break
      except importlib.metadata.PackageNotFoundError:
        continue
  return found


def complaint(found: Mapping[str, str], legacy_keras: bool = False) -> str:
  """What is too old.

  Args:
    found: dict of versions, str -> str; what is not there is not looked at.
    legacy_keras: bool, whether TF_USE_LEGACY_KERAS asks for Keras 2.

  Returns:
    One sentence, or "" if all is well.
  """
  for name, (oldest, _) in {"python": PYTHON, **VERSIONS}.items():
    if name in found and parse(found[name]) < oldest:
      return f"{supported()} Received: {name}=={found[name]}"
  if legacy_keras:
    return (
      f"{supported()} Unset TF_USE_LEGACY_KERAS, which stands for Keras 2. "
      "Received: TF_USE_LEGACY_KERAS=1"
    )
  if _numpy_of(found) == (1, 2):
    return (
      f"{supported()} TensorFlow before 2.18 needs NumPy 1. Received: "
      f"tensorflow=={found['tensorflow']} and numpy=={found['numpy']}"
    )
  return ""


def untested(found: Mapping[str, str]) -> str:
  """What is newer than the tests know: one sentence, or "".

  Args:
    found: dict from "python" and the names of packages to versions.

  Returns:
    One sentence, or "".
  """
  newer = [
    f"{name}=={found[name]}"
    for name, (_, newest) in {"python": PYTHON, **VERSIONS}.items()
    if name in found and parse(found[name]) > newest
  ]
  if _numpy_of(found) == (2, 1):
    # It works, but no wheel of those days is built for it.
    newer = [f"tensorflow=={found['tensorflow']} and numpy=={found['numpy']}"]
    return (
      f"{supported('was tested with')} TensorFlow from 2.18 on was tested with "
      f"NumPy 2. Received: {newer[0]}"
    )
  if not newer:
    return ""
  return f"{supported('was tested with')} Received: {', '.join(newer)}"


def _numpy_of(found):
  """NumPy's major version that TensorFlow is built for, and the one found."""
  if not {"tensorflow", "numpy"} <= found.keys():
    return None
  wanted = 1 if parse(found["tensorflow"]) < _NUMPY_2 else 2
  return wanted, parse(found["numpy"])[0]


def supported(verb: str = "needs") -> str:
  """The versions in one sentence.

  Args:
    verb: what tf_pcc does with them.

  Returns:
    One sentence.
  """
  ranges = [
    f"{title} {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
    for title, (oldest, newest) in zip(
      ("Python", "TensorFlow", "Keras", "NumPy"),
      (PYTHON, *VERSIONS.values()),
    )
  ]
  return f"tf_pcc {verb} {', '.join(ranges)}."


def parse(version: str) -> tuple[int, ...]:
  """(major, minor) of a version such as "2.22.0-dev20260101".

  Args:
    version: a version.

  Returns:
    Its first two numbers.
  """
  return tuple(int(part) for part in re.findall(r"\d+", version)[:2])

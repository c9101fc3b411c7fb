"""The peers' packages, in a folder of their own that is searched last.

They are not installed among a user's packages: PyTorch's wheel brings some 5 GB
of libraries for GPUs. At the end of the search path they lie beside TensorFlow,
so both sides run in one process, and what both need is taken from where
TensorFlow took it. A peer that is installed in the ordinary way is taken from
there. Only PyPI is asked.
"""

import functools
import importlib
import importlib.metadata
import os
import pathlib
import shutil
import sys
import types
from typing import Any

from launch.plan import environment

PACKAGES = (
  "torch==2.11.0",
  "torchaudio==2.11.0",
  "jax==0.10.2",
  "jaxlib==0.10.2",
  "optax==0.2.8",
  "lhotse==1.33.0",
  "opacus==1.6.0",
)


class Missing(ImportError):
  """A peer that is not installed, with the remedy."""


def default_directory() -> str:
  """~/.cache/tf_pcc/peers-VERSIONS."""
  versions = "-".join(PACKAGES[i].replace("==", "-") for i in (0, 2))
  return os.path.expanduser(f"~/.cache/tf_pcc/peers-{versions}")


def setup(directory: str | os.PathLike | None = None) -> str:
  """Installs the packages there, unless that was done.

  Args:
    directory: where; `default_directory()` by default.

  Returns:
    str, the directory.

  Raises:
    OSError: If pip cannot install the packages, with its last words.
    ValueError: If the directory exists and holds something else.
  """
  path = pathlib.Path(directory or default_directory())
  if is_ready(path):
    return str(path)
  if path.exists() and any(path.iterdir()):
    raise ValueError(
      "--environment must be a new directory, or one that --setup made with "
      f"{' '.join(PACKAGES)}. Received: environment={path}"
    )
  # Whole or not at all: what an interrupted installation left is not finished.
  partial = path.with_name(path.name + ".partial")
  shutil.rmtree(partial, ignore_errors=True)
  command = [sys.executable, "-m", "pip", "install", "--no-cache-dir"]
  command += ["--target", str(partial), *PACKAGES]
  environment.install(command, partial, PACKAGES)
  if path.exists():
    path.rmdir()
  os.replace(partial, path)
  return str(path)


def is_ready(directory: str | os.PathLike | None = None) -> bool:
  """Whether `setup` came to its end there, with these packages.

  Args:
    directory: of the packages. Default `default_directory()`.

  Returns:
    bool.
  """
  return environment.holds(directory or default_directory(), PACKAGES)


def use(directory: str | os.PathLike | None = None) -> None:
  """Searches the directory for modules, after all others, if it is ready.

  Args:
    directory: of the packages. Default `default_directory()`.

  Raises:
    ValueError: If a directory is given that is not ready.
  """
  if is_ready(directory):
    sys.path.append(os.path.abspath(directory or default_directory()))
  elif directory:
    raise ValueError(
      "--environment must be a directory that --setup filled: run python -m "
      f"launch.benchmark peers --setup --environment={directory} once. "
      f"Received: environment={directory}"
    )


@functools.cache
def require(module: str) -> types.ModuleType:
  """Imports a peer's module.

  Args:
    module: dotted name.

  Returns:
    The module.

  Raises:
    Missing: If it cannot be imported, with the remedy.
  """
  try:
    return importlib.import_module(module)
  except Exception as error:
    package = module.partition(".")[0]
    raise Missing(
      f"{package} cannot be imported: run python -m launch.benchmark peers "
      f"--setup once. Received: {type(error).__name__}: "
      f"{(str(error).strip().splitlines() or [''])[0]}"
    ) from error


def side(name: str, *needed: str) -> Any:
  """Imports a module of this folder that imports peers itself.

  Args:
    name: of the module.
    *needed: the peers' modules.

  Returns:
    The module.

  Raises:
    Missing: If a peer cannot be imported, with the remedy.
  """
  for module in needed:
    require(module)
  return importlib.import_module(f"launch.benchmark.peers.{name}")


def version(package: str) -> str:
  """The version of an installed package.

  Args:
    package: its name on PyPI.

  Returns:
    str, "" where it is not installed.
  """
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return ""

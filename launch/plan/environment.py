"""JAX and libtpu in a virtual environment of their own.

JAX wants NumPy 2 or later, TensorFlow 2.17 an earlier one, so they cannot live
together in every supported environment; `launch.plan.xla_worker` runs there and
talks by files. Only PyPI is asked. About 1.3 GB.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tf_pcc import files

# The newest JAX for whose `tpu` extra there is a libtpu, and the newest libtpu
# that the extra allows. Compiled with these was the StableHLO of TensorFlow
# 2.17.1 and 2.21.0.
PACKAGES = ("jax==0.10.2", "jaxlib==0.10.2", "libtpu==0.0.42.1")
_WORKER = pathlib.Path(__file__).with_name("xla_worker.py")
_READY = "ready.json"
_POLL_SECONDS = 0.2


def default_directory() -> str:
  """~/.cache/tf_pcc/plan-VERSIONS."""
  versions = "-".join(p.replace("==", "-") for p in PACKAGES[::2])
  return os.path.expanduser(f"~/.cache/tf_pcc/plan-{versions}")


def setup(directory: str | os.PathLike | None = None) -> str:
  """Makes the environment, or finishes one that was not.

  Args:
    directory: where; `default_directory()` by default.

  Returns:
    str, the directory.

  Raises:
    OSError: If pip cannot install the packages, with its last words.
  """
  directory = pathlib.Path(directory or default_directory())
  if is_ready(directory):
    return str(directory)
  if sys.version_info < (3, 11):
    raise OSError(
      f"{PACKAGES[0]} needs Python 3.11 or later: run launch.plan with it. "
      f"Received: Python {sys.version.split()[0]}"
    )
  python = _python(directory)
  if not python.exists():
    venv.create(directory, with_pip=True)
  # pip skips what an interrupted installation finished.
  install([str(python), "-m", "pip", "install", *PACKAGES], directory, PACKAGES)
  return str(directory)


def install(
  command: Sequence[str], directory: pathlib.Path, packages: Sequence[str]
) -> None:
  """Runs pip to its end, and notes in the directory that it came there.

  Args:
    command: of pip.
    directory: that it fills.
    packages: what it installs, NAME==VERSION.

  Raises:
    OSError: If pip cannot install the packages, with its last words.
  """
  with interruptible():
    done = subprocess.run(
      command, stderr=subprocess.PIPE, text=True, check=False
    )
  if done.returncode:
    raise OSError(
      f"{' '.join(command)} ended with exit code {done.returncode}: "
      f"{done.stderr.strip()[-500:]}"
    )
  files.write_json(directory / _READY, {"packages": list(packages)})


def holds(directory: str | os.PathLike, packages: Sequence[str]) -> bool:
  """Whether `install` came to its end there, with these packages.

  Args:
    directory: that it filled.
    packages: as of `install`.

  Returns:
    bool.
  """
  path = pathlib.Path(directory) / _READY
  try:
    return files.read_json(path)["packages"] == list(packages)
  except (OSError, ValueError, KeyError):
    return False


def is_ready(directory: str | os.PathLike | None = None) -> bool:
  """Whether `setup` came to its end there, with these packages.

  Args:
    directory: of the environment. Default `default_directory()`.

  Returns:
    bool.
  """
  return holds(directory or default_directory(), PACKAGES)


def require(directory: str | os.PathLike | None = None) -> str | os.PathLike:
  """The environment's directory.

  Args:
    directory: of the environment. Default `default_directory()`.

  Returns:
    The directory.

  Raises:
    ValueError: If it is not there, with the command that makes it.
  """
  if not is_ready(directory):
    flag = f" --environment={directory}" if directory else ""
    raise ValueError(
      "launch.plan must have its compiler, JAX and libtpu in an environment of "
      f"their own: run python -m launch.plan --setup{flag} once. Received: "
      f"environment={directory or default_directory()}"
    )
  return directory or default_directory()


def compile_for_tpu(
  program: str | os.PathLike,
  topology: str,
  result: str | os.PathLike,
  directory: str | os.PathLike | None = None,
  watch: Callable[[float], None] | None = None,
  effort: float = 0.0,
) -> dict[str, Any]:
  """Compiles StableHLO ahead of time; see `launch.plan.xla_worker`.

  Args:
    program: file of StableHLO.
    topology: str, as libtpu names it, such as "v5e:2x4".
    result: file to write, JSON.
    directory: of the environment.
    watch: function of the seconds so far, called meanwhile.
    effort: float from -1, the quickest compilation, to 1; 0 is XLA's own.

  Returns:
    dict, what is in `result`.

  Raises:
    RuntimeError: If the compiler died, with its last words.
  """
  command = ["compile", program, topology, str(effort), result]
  _run(command, directory, watch)
  return files.read_json(result)


def run_on_cpu(
  program: str | os.PathLike,
  cores: int,
  arguments: str | os.PathLike,
  result: str | os.PathLike,
  directory: str | os.PathLike | None = None,
) -> None:
  """Runs StableHLO once on XLA's CPU devices.

  Args:
    program: file of StableHLO.
    cores: int, number of devices.
    arguments: .npz file of the arguments in order, each [cores, ...].
    result: .npz file to write, of the results in order, each [cores, ...].
    directory: of the environment.

  Raises:
    RuntimeError: If it did not come to its end, with its last words.
  """
  _run(["run", program, str(cores), arguments, result], directory)


def run_child(
  command: Sequence[str],
  log: str | os.PathLike,
  watch: Callable[[float], None] | None = None,
  **options: Any,
) -> int:
  """Runs a program to its end; Ctrl-C and SIGTERM end it too.

  Args:
    command: list of str.
    log: file that its output is written to.
    watch: function of the seconds so far, called meanwhile.
    **options: of `subprocess.Popen`.

  Returns:
    int, its exit code.
  """
  start = time.monotonic()
  with interruptible(), open(log, "w") as file:
    child = subprocess.Popen(
      command, stdout=file, stderr=subprocess.STDOUT, **options
    )
    try:
      while child.poll() is None:
        if watch:
          watch(time.monotonic() - start)
        time.sleep(_POLL_SECONDS)
    except BaseException:
      child.kill()
      child.wait()
      raise
  return child.returncode


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
  """SIGTERM is answered as Ctrl-C is, for the time of the context."""

  def interrupt(*_):
    raise KeyboardInterrupt

  # Python allows handlers in the main thread only.
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  previous = signal.signal(signal.SIGTERM, interrupt)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def _python(directory):
  folder = "Scripts" if os.name == "nt" else "bin"
  name = shutil.which("python", path=str(pathlib.Path(directory) / folder))
  return pathlib.Path(name or pathlib.Path(directory) / folder / "python")


def _run(arguments, directory, watch=None):
  python = _python(require(directory))
  result = pathlib.Path(arguments[-1])
  result.unlink(missing_ok=True)
  log = result.with_suffix(".log")
  # Isolated: neither this folder nor PYTHONPATH is searched for modules.
  command = [str(python), "-I", str(_WORKER), *map(str, arguments)]
  code = run_child(command, log, watch)
  if code or not result.exists():
    last = log.read_text(errors="replace").splitlines()[-10:]
    raise RuntimeError(
      f"XLA's work ended with exit code {code}, see {log}: " + "\n".join(last)
    )

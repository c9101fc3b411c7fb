"""From a config and a slice of TPUs to the compiled step and what it needs."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import tensorflow as tf
from ml_collections import config_dict

from launch.plan import environment, findings, largest_batch, step
from launch.plan.largest_batch import Largest
from launch.plan.step import Step
from launch.plan.topologies import Topology
from launch.runs import saved_config
from tf_pcc import bars, files

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# What the program is made by: folders with all that is below them, of tf_pcc
# what is not for the audit, and more of launch that tracing imports.
_FOLDERS = ("models", "tf_pcc/data", "launch/runs")
_NAMED = (
  *(
    f"launch/plan/{name}.py"
    for name in (
      "bridge",
      "dataflow",
      "flops",
      "hlo",
      "layers",
      "program",
      "refusal",
      "stablehlo",
      "step",
      "tracing",
      "traffic",
      "xla_worker",
    )
  ),
  "launch/configs/base.py",
)


@dataclasses.dataclass(frozen=True)
class Shape:
  """One core's batch.

  Attributes:
    batch: utterances.
    samples: width of the audio.
    labels: width of the labels.
    vocab_size: classes, the blank included.
  """

  batch: int
  samples: int
  labels: int
  vocab_size: int


class Planner:
  """Compiles a config's training step for a slice; keeps what it found.

  Args:
    config: the experiment's `ConfigDict`.
    topology: `launch.plan.topologies.Topology`.
    environment_directory: of `launch.plan.environment`, None for the default.
    cache: directory of earlier results.
    progress: bool, whether to show what is being done.
    effort: float, see `environment.compile_for_tpu`.

  Raises:
    ValueError: If the effort is out of range, or no compiler is installed.
  """

  def __init__(
    self,
    config: config_dict.ConfigDict,
    topology: Topology,
    environment_directory: str | os.PathLike | None = None,
    cache: str | os.PathLike = "~/.cache/tf_pcc/plans",
    progress: bool = True,
    effort: float = 0.0,
  ):
    if not -1 <= effort <= 1:
      raise ValueError(
        f"--effort must be from -1 to 1. Received: effort={effort}"
      )
    self._environment = environment.require(environment_directory)
    self._config, self._topology = config, topology
    self._cache = pathlib.Path(cache).expanduser()
    self._progress, self._effort = progress, effort
    self._sources = digest()
    self._said = set()

  def compile(self, shape: Shape) -> Step:
    """What is known of the step of one shape.

    Args:
      shape: `Shape`.

    Returns:
      `launch.plan.step.Step`.

    Raises:
      ValueError: If the step cannot be traced.
      RuntimeError: If the compiler died.
    """
    path = self._cache / f"{self.key(shape)}.json"
    available = self._topology.chip.memory
    found = findings.read(path, available)
    if found is None:
      found = findings.derive(self._make(path, shape), available)
      if findings.lasts(found):
        findings.write(path, found)
    self._say(shape, found)
    return found

  def _make(self, path, shape):
    """Traces and compiles, in a folder of its own beside the result's file."""
    self._cache.mkdir(parents=True, exist_ok=True)
    with environment.interruptible():
      # Another process may be at the same step.
      folder = pathlib.Path(
        tempfile.mkdtemp(".part", f"{path.stem}.", self._cache)
      )
      try:
        found = self._trace_and_compile(folder, shape)
      except RuntimeError:
        # It names a log in the folder; the rest is large.
        for file in folder.iterdir():
          if file.suffix != ".log":
            file.unlink()
        raise
      except BaseException:
        shutil.rmtree(folder)
        raise
      shutil.rmtree(folder)
    return found

  def _trace_and_compile(self, folder, shape):
    start = time.monotonic()
    found = self._trace(folder, shape)
    if not found.rejected:
      name = f"{self._topology.name}, {shape.batch} a core"
      with _Clock(f"compiling for {name}", self._progress) as clock:
        compiled = environment.compile_for_tpu(
          folder / "step.mlir",
          self._topology.name,
          folder / "compiled.json",
          self._environment,
          clock.show,
          self._effort,
        )
      found = findings.compiled(found, compiled)
    return dataclasses.replace(
      found,
      effort=self._effort,
      seconds_to_compile=time.monotonic() - start,
    )

  def _say(self, shape, found):
    """What was found, at once; what follows may take long."""
    if not self._progress or shape in self._said:
      return
    self._said.add(shape)
    verdict = "refused" if found.rejected else "does not compile"
    if memory := found.memory:
      verdict = (
        f"{'fits' if found.fits else 'DOES NOT FIT'}, "
        f"{memory.needed / 2**30:.2f} GiB of HBM needed, "
        f"{memory.available / 2**30:.2f} GiB available"
      )
    print(
      f"{self._topology.name}, {shape.batch} a core, "
      f"{shape.samples / 16000:.1f} s: {verdict}",
      file=sys.stderr,
      flush=True,
    )

  def largest(self, shape: Shape, multiple: int = 1) -> Largest:
    """The largest batch of a core that fits.

    Args:
      shape: `Shape`; its batch is where the search begins.
      multiple: int, what a batch must be divisible by.

    Returns:
      `launch.plan.largest_batch.Largest`.

    Raises:
      ValueError: If the step is refused, or fails for another reason.
    """

    def memory(batch):
      found = self.compile(dataclasses.replace(shape, batch=batch))
      if found.memory is None:
        raise ValueError(
          "The largest batch can be sought only of a step that a TPU takes. "
          f"Received: {found.rejected or found.error}"
        )
      return found.memory

    return largest_batch.largest_batch(memory, shape.batch, multiple)

  def key(self, shape: Shape) -> str:
    """Name of a result: a digest of all that can change it.

    Args:
      shape: of a core's batch.

    Returns:
      str of hexadecimal digits.
    """
    config = json.loads(self._config.to_json_best_effort())
    # Of the rest nothing is in the program.
    kept = ("seed", "steps", "policy", "model", "optimizer", "clipping")
    parts = [
      {name: config[name] for name in kept},
      self._topology.name,
      self._effort,
      dataclasses.asdict(shape),
      self._sources,
      environment.PACKAGES,
      tf.__version__,
    ]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]

  def _trace(self, folder, shape):
    saved_config.save_config(str(folder), self._config)
    request = {
      "directory": str(folder),
      "cores": self._topology.cores,
      **dataclasses.asdict(shape),
    }
    files.write_json(str(folder / "request.json"), request)
    what = f"tracing for {self._topology.cores} cores"
    log = folder / "program.log"
    if code := self._child("program", folder, log, what):
      last = log.read_text(errors="replace").strip().splitlines()[-1:]
      raise ValueError(
        "The config's step must be traceable with static shapes. Received: "
        f"{' '.join(last) or f'exit code {code}'}"
      )
    found = step.from_json(files.read_json(str(folder / "step.json")))
    if found.rejected or found.suspects:
      log = folder / "refusal.log"
      what = "looking where in the model that is"
      # It only adds to what is known: without it the plan goes on.
      if not self._child("refusal", folder, log, what):
        places = files.read_json(str(folder / "where.json"))
        where = {op: tuple(each) for op, each in places.items()}
        return dataclasses.replace(found, where=where)
    return found

  def _child(self, module, folder, log, what):
    """Runs a module of this package on the request; its exit code."""
    request = str(folder / "request.json")
    with _Clock(what, self._progress) as clock:
      return environment.run_child(
        [sys.executable, "-m", f"launch.plan.{module}", request],
        log,
        clock.show,
        cwd=_ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
      )


class _Clock:
  """A line that says what is being done and for how long."""

  def __init__(self, what, shown):
    self._bar = bars.make(
      bar_format="{desc}: {elapsed}", desc=what, disable=not shown
    )
    self._every = max(bars.interval(), 1.0)
    self._shown = 0

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._bar.close()

  def show(self, seconds):
    if seconds >= self._shown + self._every:
      self._shown = seconds
      self._bar.refresh()


def sources(root: pathlib.Path = _ROOT) -> list[pathlib.Path]:
  """Every file that can change the program.

  What is read from a compiled program is read again each time, so the files
  that do that are not among them.

  Args:
    root: `pathlib.Path` of the checkout.

  Returns:
    list of `pathlib.Path`.

  Raises:
    FileNotFoundError: If one that is named here was moved or renamed.
  """
  found = [root / name for name in _NAMED]
  found += sorted((root / "tf_pcc").glob("*.py"))
  for folder in _FOLDERS:
    found += sorted((root / folder).rglob("*.py")) or [root / folder]
  for path in found:
    if not path.is_file():
      raise FileNotFoundError(
        "The cache's key must hold every file that makes the program: mend the "
        f"list in launch/plan/planning.py. Received: no file {path}"
      )
  return found


def digest(root: pathlib.Path = _ROOT) -> str:
  """A hash of the names and the content of `sources`.

  Args:
    root: the checkout. Default: that of this file.

  Returns:
    SHA-256, 64 hexadecimal digits.
  """
  found = hashlib.sha256()
  for path in sources(root):
    found.update(str(path.relative_to(root)).encode() + b"\0")
    found.update(path.read_bytes())
  return found.hexdigest()

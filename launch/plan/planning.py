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

from launch.plan import environment, findings, largest_batch
from launch.runs import saved_config
from tf_pcc import bars, files

_ROOT = pathlib.Path(__file__).resolve().parents[2]


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
    ValueError: when the effort is out of range, or no compiler is installed.
  """

  def __init__(
    self,
    config,
    topology,
    environment_directory=None,
    cache="~/.cache/tf_pcc/plans",
    progress=True,
    effort=0.0,
  ):
    if not -1 <= effort <= 1:
      raise ValueError(
        f"--effort must be from -1 to 1. Received: effort={effort}"
      )
    self._environment = environment.require(environment_directory)
    self._config, self._topology = config, topology
    self._cache = pathlib.Path(cache).expanduser()
    self._progress, self._effort = progress, effort
    self._sources = _digest_of_sources()
    self._said = set()

  def compile(self, shape):
    """What is known of the step of one shape.

    Args:
      shape: `Shape`.

    Returns:
      dict: what `launch.plan.program.make` returns; "where", as
      `launch.plan.refusal.where`, when that is refused or suspect; "compiles";
      "error" or None; "seconds_to_compile", with tracing; "memory" in bytes:
      "arguments" (weights, optimizer, batch), "temporaries", "code", "outputs"
      that replace no argument, "needed" (all of it, or only what the compiler's
      complaint names, and then it alone), "available" and "spare"; "fits"; and
      when it compiles "collectives_compiled", a list of [kind, bytes, tensors],
      "compiler_flops" and "compiler_bytes"; "compiler_memory" and
      "compiler_cpu_seconds", what compiling took here; "effort"; "compiler", as
      `launch.plan.findings.from_compiler`.

    Raises:
      ValueError: when the step cannot be traced.
      RuntimeError: when the compiler died.
    """
    path = self._cache / f"{self._key(shape)}.json"
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
    if not found["rejected"]:
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
      found |= findings.from_compiler(compiled)
    found["effort"] = self._effort
    found["seconds_to_compile"] = time.monotonic() - start
    return found

  def _say(self, shape, found):
    """What was found, at once; what follows may take long."""
    if not self._progress or shape in self._said:
      return
    self._said.add(shape)
    verdict = "refused" if found["rejected"] else "does not compile"
    if memory := found["memory"]:
      verdict = (
        f"{'fits' if found['fits'] else 'DOES NOT FIT'}, "
        f"{memory['needed'] / 2**30:.2f} GiB of HBM needed, "
        f"{memory['available'] / 2**30:.2f} GiB available"
      )
    print(
      f"{self._topology.name}, {shape.batch} a core, "
      f"{shape.samples / 16000:.1f} s: {verdict}",
      file=sys.stderr,
      flush=True,
    )

  def largest(self, shape, multiple=1):
    """The largest batch of a core that fits.

    Args:
      shape: `Shape`; its batch is where the search begins.
      multiple: int, what a batch must be divisible by.

    Returns:
      int, of `launch.plan.largest_batch.largest_batch`.
    """
    tried = {}

    def fits(batch):
      found = self.compile(dataclasses.replace(shape, batch=batch))
      if not found["compiles"] and "needed" not in found.get("memory", {}):
        raise ValueError(
          "The largest batch can be sought only of a step that a TPU takes. "
          f"Received: {found['rejected'] or found['error']}"
        )
      tried[batch] = found
      return found["fits"]

    return largest_batch.largest_batch(
      fits, lambda b: tried[b]["memory"], shape.batch, multiple
    )

  def _key(self, shape):
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
    found = files.read_json(str(folder / "step.json"))
    if found["rejected"] or found["suspects"]:
      log = folder / "refusal.log"
      what = "looking where in the model that is"
      # It only adds to what is known: without it the plan goes on.
      if not self._child("refusal", folder, log, what):
        found["where"] = files.read_json(str(folder / "where.json"))
    return found | {
      "compiles": False,
      "error": None,
      "fits": False,
      "memory": {},
    }

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


def _digest_of_sources():
  """Of every file that can change the program.

  What is read from a compiled program is read anew each time, so the files that
  do that are not among them.
  """
  tracers = (
    "bridge",
    "dataflow",
    "flops",
    "program",
    "refusal",
    "stablehlo",
    "tracing",
  )
  files = [
    *sorted((_ROOT / "tf_pcc").glob("*.py")),
    *sorted((_ROOT / "models").rglob("*.py")),
    *(_ROOT / "launch" / "plan" / f"{name}.py" for name in tracers),
    _ROOT / "launch" / "plan" / "xla_worker.py",
    _ROOT / "launch" / "runs" / "experiment.py",
  ]
  digest = hashlib.sha256()
  for path in files:
    digest.update(path.read_bytes())
  return digest.hexdigest()

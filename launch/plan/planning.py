"""From a config and a slice of TPUs to the compiled step and what it needs."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import tensorflow as tf

from launch import bars, workdir
from launch.plan import environment, hlo

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# A TPU's vectors have eight rows: between multiples nothing is won.
_ROWS = 8
_PROBES = 6


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
    self._environment = environment.require(environment_directory)
    self._config, self._topology = config, topology
    self._cache = pathlib.Path(cache).expanduser()
    self._progress, self._effort = progress, effort
    self._sources = _digest_of_sources()

  def compile(self, shape):
    """What is known of the step of one shape.

    Args:
      shape: `Shape`.

    Returns:
      dict: what `launch.plan.program.make` returns; "compiles"; "error" or
      None; "seconds_to_compile", with tracing; "memory" in bytes: "arguments"
      (weights, optimizer, batch), "temporaries", "code", "outputs" that replace
      no argument, "needed" (all of it, or what the compiler's complaint names),
      "available" and "spare"; "fits"; and when it does "collectives_compiled",
      a list of [kind, bytes, tensors], "compiler_flops" and "compiler_bytes";
      "compiler_memory" and "compiler_cpu_seconds", what compiling took here;
      "effort".

    Raises:
      RuntimeError: when the compiler died.
    """
    key = self._key(shape)
    path = self._cache / f"{key}.json"
    if path.exists():
      return workdir.read_json(str(path))
    folder = self._cache / f"{key}.part"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
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
      found |= self._compiled(compiled)
      found["compiler_memory"] = compiled["peak_memory"]
      found["compiler_cpu_seconds"] = compiled["cpu_seconds"]
    found["effort"] = self._effort
    found["seconds_to_compile"] = time.monotonic() - start
    workdir.write_json(str(path), found)
    shutil.rmtree(folder)
    return workdir.read_json(str(path))

  def largest(self, shape, multiple=1):
    """The largest batch of a core that fits.

    Needs grow with the batch in a straight line, so the next guess is on it;
    where it misses, halves of what is left decide.

    Args:
      shape: `Shape`; its batch is where the search begins.
      multiple: int, what a batch must be divisible by.

    Returns:
      int, 0 when not even the smallest fits; from 8 on in steps of 8.
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

    return largest_batch(
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
    workdir.save_config(str(folder), self._config)
    request = {
      "directory": str(folder),
      "cores": self._topology.cores,
      **dataclasses.asdict(shape),
    }
    workdir.write_json(str(folder / "request.json"), request)
    log = folder / "program.log"
    command = [sys.executable, "-m", "launch.plan.program"]
    with log.open("w") as file:
      child = subprocess.Popen(
        [*command, str(folder / "request.json")],
        cwd=_ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=file,
        stderr=subprocess.STDOUT,
      )
      what = f"tracing for {self._topology.cores} cores"
      with _Clock(what, self._progress) as clock:
        _wait(child, clock)
    facts = folder / "step.json"
    if child.returncode:
      last = log.read_text(errors="replace").strip().splitlines()[-1:]
      raise ValueError(
        "The config's step must be traceable with static shapes. Received: "
        f"{' '.join(last) or f'exit code {child.returncode}'}"
      )
    return workdir.read_json(str(facts)) | {
      "compiles": False,
      "error": None,
      "fits": False,
      "memory": {},
    }

  def _compiled(self, result):
    available = self._topology.chip.memory
    if error := result.get("error"):
      bytes_named = hlo.memory_needed(error)
      if bytes_named is None:
        return {"error": error}
      needed, available = bytes_named
      return {
        "error": error.splitlines()[0],
        "memory": {
          "needed": needed,
          "available": available,
          "spare": available - needed,
        },
      }
    memory = result["memory"]
    parts = {
      "arguments": memory["argument"],
      "temporaries": memory["temp"],
      "code": memory["generated_code"],
      "outputs": memory["output"] - memory["alias"],
    }
    needed = sum(parts.values())
    text = pathlib.Path(result["hlo"]).read_text()
    return {
      "compiles": True,
      "fits": needed <= available,
      "memory": parts
      | {
        "needed": needed,
        "available": available,
        "spare": available - needed,
      },
      "collectives_compiled": hlo.collectives(text),
      "compiler_flops": result["flops"],
      "compiler_bytes": result["bytes"],
    }


def largest_batch(fits, memory, start, multiple=1):
  """Searches for the largest batch that fits.

  Args:
    fits: function of a batch.
    memory: function of a batch that was tried, to a dict with "needed" and
      "available" in bytes.
    start: int, the first guess.
    multiple: int, what a batch must be divisible by.

  Returns:
    int, 0 when the smallest does not fit; from 8 on in steps of 8.
  """

  def step(batch):
    rows = _ROWS if batch >= _ROWS else 1
    return multiple * -(-rows // multiple)

  def rounded(batch):
    batch = int(batch)
    return max(batch // step(batch) * step(batch), multiple)

  good, bad = 0, None
  needs = {}
  guess = rounded(start)
  while True:
    if fits(guess):
      good = max(good, guess)
    else:
      bad = guess if bad is None else min(bad, guess)
    found = memory(guess)
    needs[guess] = found["needed"]
    if bad is not None and bad - good <= step(good):
      return good
    limit = found["available"]
    if len(needs) > _PROBES and bad is not None:
      guess = rounded((good + bad) / 2)
    else:
      guess = rounded(_line(needs, limit))
    # Strictly between the bounds, whatever the line says.
    if guess <= good:
      guess = good + step(good)
    if bad is not None and guess >= bad:
      guess = max(rounded(bad - 1), good + multiple)
      if guess >= bad:
        return good


def _line(needs, limit):
  """Where the needs reach the limit; through zero with one point only."""
  points = sorted(needs.items())
  if len(points) == 1:
    (batch, need), base = points[0], 0
    slope = need / batch
  else:
    (first, low), (batch, need) = points[-2:]
    slope = (need - low) / (batch - first)
    base = need - slope * batch
  return (limit - base) / slope if slope > 0 else batch * 2


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


def _wait(child, clock):
  start = time.monotonic()
  try:
    while child.poll() is None:
      clock.show(time.monotonic() - start)
      time.sleep(0.2)
  except BaseException:
    child.kill()
    child.wait()
    raise


def _digest_of_sources():
  """Of every file that can change the program."""
  tracers = ("bridge", "dataflow", "flops", "program", "stablehlo", "tracing")
  files = [
    *sorted((_ROOT / "tf_pcc").glob("*.py")),
    *sorted((_ROOT / "models").glob("*.py")),
    *(_ROOT / "launch" / "plan" / f"{name}.py" for name in tracers),
    _ROOT / "launch" / "plan" / "xla_worker.py",
    _ROOT / "launch" / "experiment.py",
  ]
  digest = hashlib.sha256()
  for path in files:
    digest.update(path.read_bytes())
  return digest.hexdigest()

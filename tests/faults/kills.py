"""Programs are killed at random moments and must go on to the same result.

The same means bit for bit: every tensor of every checkpoint, every file but the
graphs of an export. launch.compare is killed alone or with the processes that
it has started.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal
import time
from collections.abc import Callable

import numpy as np
import soundfile

from tests.faults.samples import tiny_config, tones
from tests.faults.server import in_child
from tests.launch import programs_main
from tf_pcc.data import records

_LIMIT_SECONDS = 600
_PATIENCE_SECONDS = 60
# The order of attributes in it is another after restoring.
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_EXPERIMENT = """
import json
from launch.configs import base
def get_config():
  config = base.get_config()
  fields = json.loads({fields!r})
  config.model.fields = fields["model"].pop("fields")
  config.update(fields)
  return config
"""


def run(folder, minutes, seed, report, count=None):
  """Kills each program in turn.

  Args:
    folder: `pathlib.Path` of an empty folder's parent.
    minutes: float.
    seed: int.
    report: function of a line, called with what must not happen.
    count: int, kills of all programs together instead of the minutes.

  Returns:
    dict from program to a Counter of kills and same.
  """
  good = folder / "kills"
  good.mkdir()
  in_child(_build, good)
  random = np.random.default_rng(seed)
  programs = _programs(good)
  expected, seconds, counts = {}, {}, {}
  end = time.monotonic() + 60 * minutes
  for name, program in programs.items():
    log = good / f"{name}.log"
    # The first run makes what the next programs need.
    for _ in range(2):
      program.remove()
      started = time.monotonic()
      if code := _start_and_wait(name, program.arguments, log):
        raise AssertionError(f"launch.{name}: {code}; {log.read_text()}")
    seconds[name] = time.monotonic() - started
    expected[name] = program.result()
    counts[name] = collections.Counter()
    shutil.copytree(program.output, folder / f"whole-{name}")

  def more():
    done = sum(c["kills"] for c in counts.values())
    return done < count if count else time.monotonic() < end

  while more():
    for name, program in programs.items():
      if not more():
        break
      program.remove()
      log = good / f"{name}.log"
      child = _start(name, program.arguments, log)
      moment = random.uniform(0.2, 1.0) * seconds[name]
      time.sleep(moment)
      victims = [child]
      if random.random() < 0.5:
        victims += _children(child)
      for victim in victims:
        with contextlib.suppress(ProcessLookupError):
          os.kill(victim, signal.SIGKILL)
      os.waitpid(child, 0)
      counts[name]["kills"] += 1
      code = _start_and_wait(name, program.arguments, log)
      if code == 1 and "must have one training at a time" in log.read_text():
        # What the killed one has started saves a checkpoint still.
        time.sleep(_PATIENCE_SECONDS)
        code = _start_and_wait(name, program.arguments, log)
      if code == 1 and "holds a report already" in log.read_text():
        # It was killed after it had ended.
        code = 0
      left = _left(program.output)
      found = program.result() if code == 0 else {}
      differing = sorted(
        key
        for key in {*found, *expected[name]}
        if found.get(key) != expected[name].get(key)
      )
      same = code == 0 and not left and not differing
      counts[name]["same"] += same
      if not same:
        report(
          f"launch.{name} killed after {moment:.2f} s: exit code {code}, "
          f"left behind: {left}, differing: {differing[:9]} of "
          f"{len(differing)}; {log.read_text(errors='replace')[-2000:]}"
        )
        # The next programs need it.
        program.remove()
        shutil.copytree(folder / f"whole-{name}", program.output)
  return counts


def table(counts):
  """The counts as a Markdown table."""
  lines = ["| killed | kills | same result |", "|---|--:|--:|"]
  total = sum(counts.values(), collections.Counter())
  for name, count in [*counts.items(), ("all", total)]:
    name = name if name == "all" else f"launch.{name}"
    lines.append(f"| {name} | {count['kills']} | {count['same']} |")
  return "\n".join(lines)


def _build(folder):
  for name, count in (("train", 24), ("test", 3)):
    records.write_records(list(tones(count, 1)), folder / name, progress=False)
  corpus = folder / "corpus"
  corpus.mkdir()
  lines = []
  for utterance, waveform in tones(40, 2):
    soundfile.write(corpus / f"{utterance.id}.wav", waveform, 16000)
    lines.append(f"{utterance.id} {utterance.text}\n")
  (corpus / "x.trans.txt").write_text("".join(lines))
  config = tiny_config(folder)
  config.steps, config.checkpoint_every, config.cores = 8, 2, 1
  config.clipping.microbatches = 2
  # Adam would make large steps of the last bits of small gradients.
  config.optimizer.name, config.optimizer.learning_rate = "sgd", 1e-3
  config.data.cache = str(folder / "cache")
  config.canaries.repetitions, config.canaries.per_count = (1, 2), 2
  config.canaries.holdout, config.canaries.length = 20, 2
  config.canaries.speeds = (1.0,)
  _write_experiment(folder / "experiment.py", config)
  config.steps, config.keep_checkpoints = 4, 0
  config.canaries.insert = True
  _write_experiment(folder / "comparison.py", config)


def _write_experiment(path, config):
  path.write_text(_EXPERIMENT.format(fields=config.to_json()))


@dataclasses.dataclass(frozen=True)
class _Program:
  """How a program is started, and what it makes.

  Attributes:
    arguments: list of str.
    output: `pathlib.Path` of the folder that it makes.
    result: function without arguments: a dict of what must be the same.
    also: folders that it makes besides.
  """

  arguments: list
  output: pathlib.Path
  result: Callable
  also: tuple = ()

  def remove(self):
    """Removes what it makes."""
    for path in (self.output, *self.also):
      shutil.rmtree(path, ignore_errors=True)


def _programs(folder):
  prepared, run, exported, planned, compared = (
    folder / name
    for name in ("prepared", "run", "exported", "planned", "compared")
  )
  experiment = f"--config={folder / 'experiment.py'}"
  return {
    "prepare": _Program(
      [f"--corpus={folder / 'corpus'}", f"--output={prepared}", "--shards=3"],
      prepared,
      lambda: _files(prepared),
    ),
    "train": _Program(
      [experiment, f"--workdir={run}"], run, lambda: _tensors(run)
    ),
    "export": _Program(
      [f"--workdir={run}", f"--output={exported}"],
      exported,
      lambda: _files(exported),
    ),
    "make_canaries": _Program(
      [experiment, f"--corpus={folder / 'train'}", f"--output={planned}"],
      planned,
      lambda: _files(planned),
      (folder / "cache",),
    ),
    "compare": _Program(
      [
        *(f"--config={folder / 'comparison.py'}", f"--workdir={compared}"),
        *("--methods=pcc", "--seeds=1", "--parallel=1"),
      ],
      compared,
      lambda: _compared(compared),
    ),
  }


def _children(process):
  """The processes that a process has started, and so on."""
  found = []
  for path in pathlib.Path(f"/proc/{process}/task").glob("*/children"):
    with contextlib.suppress(OSError):
      for child in map(int, path.read_text().split()):
        found += [child, *_children(child)]
  return found


def _start(program, arguments, log):
  child = os.fork()
  if not child:
    with open(log, "w") as out:
      code = programs_main.run(program, arguments, out, out)
    os._exit(code)
  return child


def _start_and_wait(program, arguments, log):
  child = _start(program, arguments, log)
  end = time.monotonic() + _LIMIT_SECONDS
  while time.monotonic() < end:
    found, status = os.waitpid(child, os.WNOHANG)
    if found:
      return os.waitstatus_to_exitcode(status)
    time.sleep(0.05)
  os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
  return None


def _left(output):
  """Temporary files that a killed process has left and nobody has swept."""
  folder = output.parent
  found = [p.name for p in folder.glob(f"{output.name}*") if p != output]
  patterns = (".writing-*", "*_temp", "*.tmp*", "*.partial*", "*.old*")
  patterns += ("*.writing.lock", "*.writing.json")
  found += [p.name for pattern in patterns for p in output.rglob(pattern)]
  return sorted(found)


def _files(output):
  """The digest of every file."""
  return {
    str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in output.rglob("*")
    # A graph is written in an order of its own, and its digest with it.
    if path.is_file() and path.suffix not in (".pb", ".index")
    if path.name not in ("fingerprint.pb", "metadata.json")
  } | _metadata(output)


def _metadata(output):
  path = output / "metadata.json"
  if not path.exists():
    return {}
  found = json.loads(path.read_text())
  found.pop("files")
  return {"metadata.json": found}


def _tensors(output):
  """The digest of every tensor of every checkpoint of a run."""
  found = output.parent / "tensors.json"
  # TensorFlow's threads would not survive the forks to come.
  in_child(_write_tensors, output, found)
  return json.loads(found.read_text())


def _compared(output):
  """The checkpoints of the one run, and what the audit found in them."""
  run = output / "runs" / "pcc-seed-0"
  steps = ("2", "4")
  result = {
    name: digest
    for name, digest in _tensors(run).items()
    # A run that was asked to stop has one more, and has counted it.
    if name.split()[0] in steps and "save_counter" not in name
  }
  audit = json.loads((run / "audit" / "audit.json").read_text())
  for entry in audit["checkpoints"]:
    if str(entry["step"]) in steps:
      result[f"audit of {entry['step']}"] = entry
  result["report"] = (output / "report" / "report.html").exists()
  return result


def _write_tensors(output, result_path):
  import tensorflow as tf

  result = {}
  for path in sorted(pathlib.Path(output, "checkpoints").glob("*.index")):
    reader = tf.train.load_checkpoint(str(path.with_suffix("")))
    step = path.stem.rpartition("-")[2]
    for name in reader.get_variable_to_shape_map().keys() - {_GRAPH}:
      value = reader.get_tensor(name)
      content = value if isinstance(value, bytes) else value.tobytes()
      result[f"{step} {name}"] = hashlib.sha256(content).hexdigest()
  result_path.write_text(json.dumps(result, sort_keys=True))

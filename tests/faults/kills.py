"""Programs are killed at random moments and must go on to the same result."""

import collections
import hashlib
import json
import os
import pathlib
import shutil
import signal
import time

import numpy as np
import soundfile

from tests.faults.samples import tiny_config, tones
from tests.faults.server import in_child
from tests.launch import programs_main
from tf_pcc.data import records

_LIMIT_SECONDS = 600
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


def run(folder, minutes, seed, report):
  """Kills train, prepare and export in turn.

  Args:
    folder: `pathlib.Path` of an empty folder's parent.
    minutes: float.
    seed: int.
    report: function of a line, called with what must not happen.

  Returns:
    dict from program to a Counter of kills and same.
  """
  good = folder / "kills"
  good.mkdir()
  in_child(_build, good)
  random = np.random.default_rng(seed)
  commands = _commands(good)
  expected, seconds, counts = {}, {}, {}
  end = time.monotonic() + 60 * minutes
  for program, (arguments, output) in commands.items():
    # The first run makes what the next programs need.
    _start_and_wait(program, arguments, good / f"{program}.log")
    shutil.rmtree(output)
    started = time.monotonic()
    _start_and_wait(program, arguments, good / f"{program}.log")
    seconds[program] = time.monotonic() - started
    expected[program] = _result(output)
    counts[program] = collections.Counter()
    keep = folder / f"whole-{program}"
    shutil.copytree(output, keep)
  while time.monotonic() < end:
    for program, (arguments, output) in commands.items():
      shutil.rmtree(output)
      log = good / f"{program}.log"
      child = _start(program, arguments, log)
      moment = random.uniform(0.2, 1.0) * seconds[program]
      time.sleep(moment)
      os.kill(child, signal.SIGKILL)
      os.waitpid(child, 0)
      counts[program]["kills"] += 1
      code = _start_and_wait(program, arguments, log)
      left = _left(output)
      same = code == 0 and not left and _result(output) == expected[program]
      counts[program]["same"] += same
      if not same:
        report(
          f"launch.{program} killed after {moment:.2f} s: exit code {code}, "
          f"left behind: {left}; {log.read_text(errors='replace')[-2000:]}"
        )
        # The next programs need it.
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(folder / f"whole-{program}", output)
  return counts


def table(counts):
  """The counts as a Markdown table."""
  lines = ["| killed | kills | same result |", "|---|--:|--:|"]
  for program, count in counts.items():
    lines.append(f"| launch.{program} | {count['kills']} | {count['same']} |")
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
  path = folder / "experiment.py"
  path.write_text(_EXPERIMENT.format(fields=config.to_json()))


def _commands(folder):
  return {
    "prepare": (
      [f"--corpus={folder / 'corpus'}", f"--output={folder / 'prepared'}"],
      folder / "prepared",
    ),
    "train": (
      [f"--config={folder / 'experiment.py'}", f"--workdir={folder / 'run'}"],
      folder / "run",
    ),
    "export": (
      [f"--workdir={folder / 'run'}", f"--output={folder / 'exported'}"],
      folder / "exported",
    ),
  }


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
  patterns = (".writing-*", "*_temp", "*.tmp*", "*.partial")
  found += [p.name for pattern in patterns for p in output.rglob(pattern)]
  return sorted(found)


def _result(output):
  """What must be the same: figures of a run, files of the others."""
  if (output / "checkpoints").is_dir():
    found = output.parent / "weights.json"
    # TensorFlow's threads would not survive the forks to come.
    in_child(_write_weights, output, found)
    return found.read_text()
  names = {
    str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in output.rglob("*")
    # A graph is written in an order of its own, and with the time.
    if path.is_file() and path.suffix not in (".pb", ".index", ".json")
  }
  return names


def _write_weights(output, result_path):
  import tensorflow as tf

  folder = pathlib.Path(output, "checkpoints")
  result = {}
  for path in sorted(folder.glob("*.index")):
    reader = tf.train.load_checkpoint(str(path.with_suffix("")))
    for name in reader.get_variable_to_shape_map():
      if name.startswith("weights/"):
        value = reader.get_tensor(name)
        # Two processes may differ in the last bits.
        result[f"{path.name} {name}"] = np.round(value, 4).tolist()
  result_path.write_text(json.dumps(result, sort_keys=True))

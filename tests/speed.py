"""Training steps of two environments against each other, taking turns.

  python -m tests.speed .matrix/python3.11-tf2.17.1 .matrix/python3.11-tf2.21.0

Each environment is the folder of a virtual environment such as tests.matrix
makes. It runs a process that trains the desk's Conformer with APCC on two
cores, on the same noise. One takes a step while the other waits, so that a busy
machine slows both alike. Printed are the medians of a step, and the quartiles
of the second's time over the first's.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent


def serve(folder):
  """A process of one environment: a step for each line of its input."""
  from launch.benchmark import step_cost
  from launch.configs import desk
  from tests.conftest import mirrored

  config = desk.get_config()
  config.cores, config.data.train = 2, folder
  config.tokenizer.kind = "character"
  steps = step_cost.make_steps(
    config, mirrored(2), {"apcc": {"method": "apcc"}}
  )
  for _ in sys.stdin:
    start, used = time.perf_counter(), time.process_time()
    steps["apcc"]()
    print(
      "step",
      time.perf_counter() - start,
      time.process_time() - used,
      flush=True,
    )


def write_noise(folder):
  """Records of one to three seconds of noise, seeded."""
  from tf_pcc.data import records
  from tf_pcc.data.utterances import Utterance

  random = np.random.default_rng(0)
  made = []
  for i in range(256):
    noise = 0.1 * random.standard_normal(int(random.integers(16000, 48000)))
    text = "THE LAMP IS ON THE TABLE"[: 8 + i % 16].strip()
    made.append((Utterance(f"{i}", "", text), noise.astype(np.float32)))
  records.write_records(made, folder, progress=False)


def take_turns(processes, rounds):
  """Seconds of wall clock and of the processor, float64 [rounds, 2, 2]."""
  found = np.zeros((rounds + 3, 2, 2))
  for turn in range(rounds + 3):
    # The other one first in every second round.
    for i in (0, 1) if turn % 2 else (1, 0):
      processes[i].stdin.write("step\n")
      processes[i].stdin.flush()
      words = [""]
      while words[:1] != ["step"]:
        line = processes[i].stdout.readline()
        if not line:
          raise ValueError(f"{processes[i].args[0]} ended by itself")
        words = line.split()
      found[turn, i] = [float(word) for word in words[1:]]
  # The first steps trace.
  return found[3:]


def main():
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("environments", nargs=2)
  parser.add_argument("--rounds", type=int, default=40)
  chosen = parser.parse_args()
  with tempfile.TemporaryDirectory() as made:
    folder = str(pathlib.Path(made) / "noise")
    write_noise(folder)
    processes = [
      subprocess.Popen(
        [pathlib.Path(home).absolute() / "bin" / "python", "-c"]
        + [f"from tests import speed; speed.serve({folder!r})"],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
      )
      for home in chosen.environments
    ]
    try:
      found = take_turns(processes, chosen.rounds)
    finally:
      for process in processes:
        process.stdin.close()
        process.wait()
  print(f"{'':10} {'first':>8} {'second':>8} {'ratio':>7}   quartiles")
  for kind, values in zip(("wall", "processor"), np.moveaxis(found, 2, 0)):
    low, middle, high = np.quantile(
      values[:, 1] / values[:, 0], [0.25, 0.5, 0.75]
    )
    first, second = np.median(values, axis=0)
    print(
      f"{kind:10} {first:8.4f} {second:8.4f} {middle:7.3f}   "
      f"{low:.3f} .. {high:.3f}"
    )


if __name__ == "__main__":
  main()

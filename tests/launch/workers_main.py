"""What one worker of tests/launch/workers_test.py does.

Usage: python -m tests.launch.workers_main FOLDER CONFIG STEPS

Trains until worker 1, the one that is not the chief, is asked to stop after its
second step; trains on to the end in fresh objects; writes the weights of every
checkpoint to FOLDER/<task>-<step>.npz.
"""

import importlib.util
import json
import os
import signal
import sys

import numpy as np
from absl import flags

from launch import train
from launch.runs import checkpoints, cluster, interruption

INTERRUPTED = 2


def config_of(path, steps):
  spec = importlib.util.spec_from_file_location("experiment", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config()
  config.steps = steps
  return config


def main():
  folder, path, steps = sys.argv[1:]
  task = json.loads(os.environ["TF_CONFIG"])["task"]["index"]

  class Checkpoints(checkpoints.Checkpoints):
    def __init__(self, directory, model, *rest):
      super().__init__(directory, model, *rest)
      self._model = model

    def save(self, step, wait=True):
      super().save(step, wait)
      np.savez(f"{folder}/{task}-{step}", *self._model.get_weights())

  class Interruption(interruption.Interruption):
    asked = 0

    def requested(self):
      Interruption.asked += 1
      if Interruption.asked == INTERRUPTED and task == 1:
        os.kill(os.getpid(), signal.SIGTERM)
      return super().requested()

  checkpoints.Checkpoints = Checkpoints
  interruption.Interruption = Interruption
  flags.FLAGS(sys.argv[:1])
  strategy = cluster.make_strategy(1)
  config = config_of(path, int(steps))
  try:
    train.train(config, f"{folder}/run", strategy)
    raise AssertionError("not interrupted")
  except KeyboardInterrupt:
    pass
  summary = train.train(config, f"{folder}/run", strategy)
  print(json.dumps(summary))


if __name__ == "__main__":
  main()

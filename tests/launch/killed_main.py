"""launch.train, one worker of which is killed in the middle of a step.

Usage: python -m tests.launch.killed_main WORKER STEP FLAGS...

WORKER ends by SIGKILL when the others wait for it in the collectives of STEP;
FLAGS are those of launch.train.
"""

import json
import os
import signal
import sys

from launch import cli, train
from launch.runs import stepping


def main():
  worker, last = map(int, sys.argv[1:3])
  del sys.argv[1:3]
  make = stepping.step_function

  def make_dying(model, strategy):
    run = make(model, strategy)
    taken = 0

    def steps(iterator, count):
      nonlocal taken
      taken += count
      if taken >= last:
        os.kill(os.getpid(), signal.SIGKILL)
      run(iterator, count)

    return steps

  if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == worker:
    stepping.step_function = make_dying
  cli.run("launch.train", train.main, required=["workdir"])


if __name__ == "__main__":
  main()

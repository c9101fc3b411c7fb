"""Runs programs of `launch` as processes that need not import TensorFlow again.

Usage: python -m tests.launch.programs_main

Reads a JSON list [environment, program, arguments...] a line, and answers each
with a line [exit code, standard output, standard error]. Each program runs in a
fork made before TensorFlow starts its threads, so it chooses its own devices.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback

# What the programs import besides themselves.
import launch.canaries.of_run
import launch.runs.cluster
import launch.runs.interruption
import launch.runs.metrics  # noqa: F401


def run(program, arguments, out, err):
  """Becomes the program; returns its exit code as the shell would see it."""
  os.dup2(out.fileno(), 1)
  os.dup2(err.fileno(), 2)
  sys.argv = [program, *arguments]
  try:
    runpy.run_module(f"launch.{program}", run_name="__main__", alter_sys=True)
  except SystemExit as end:
    if isinstance(end.code, str):
      print(end.code, file=sys.stderr)
      return 1
    return end.code or 0
  except BaseException:
    traceback.print_exc()
    return 1
  return 0


def main():
  for line in sys.stdin:
    environment, program, *arguments = json.loads(line)
    with (
      tempfile.TemporaryFile("w+") as out,
      tempfile.TemporaryFile("w+") as err,
    ):
      child = os.fork()
      if not child:
        os.environ.update(environment)
        code = run(program, arguments, out, err)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
      code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
      out.seek(0)
      err.seek(0)
      print(json.dumps([code, out.read(), err.read()]), flush=True)


if __name__ == "__main__":
  main()

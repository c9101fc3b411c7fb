"""The process that runs a pipeline of Apache Beam; see `tf_pcc.data.beam`.

The first line of standard input is a JSON object: Beam's flags, and the places
of the tasks. When standard input ends, the job is cancelled and this process
ends with all that it started. Errors are one line on standard error.
"""

import contextlib
import io
import json
import logging
import os
import re
import signal
import sys
import threading
from typing import NoReturn

from tf_pcc import extras
from tf_pcc.data import beam as beam_

_GO_ON = "the same command goes on from here"


def main() -> None:
  """Runs the pipeline that standard input describes."""
  request = json.loads(sys.stdin.readline())
  job = []
  threading.Thread(target=_end_with_input, args=(job,), daemon=True).start()
  threading.excepthook = _worker_died
  beam = extras.load("apache_beam", "--runner=beam", "beam")
  options = extras.load(
    "apache_beam.options.pipeline_options", "--runner=beam", "beam"
  )
  logging.getLogger().setLevel(logging.INFO)
  # Of Google Cloud, named in each process that does without it.
  logging.getLogger("root").addFilter(
    lambda record: "apitools" not in record.getMessage()
  )
  pipeline = _pipeline(beam, options, request["flags"])
  if not request["places"]:
    return
  places = [tuple(place) for place in request["places"]]
  _ = (
    pipeline
    | "tasks" >> beam.Create(places)
    # Or one worker makes all of them.
    | "spread" >> beam.Reshuffle()
    | "shards" >> beam.Map(beam_.finish)
  )
  try:
    job.append(pipeline.run())
    state = job[0].wait_until_finish()
  except Exception as error:
    logging.exception("the pipeline failed")
    _end(f"a worker or the runner failed; {_GO_ON}. {_cause(error)}")
  if state not in (None, "DONE"):
    _end(f"the job ended as {state}; {_GO_ON}. Received: state={state}")


def _pipeline(beam, options, flags):
  """An empty pipeline, or the end where the flags are wrong."""
  said = io.StringIO()
  try:
    # Argparse prints what is wrong, and exits.
    with contextlib.redirect_stderr(said):
      parsed = options.PipelineOptions(flags)
      parsed.get_all_options()
    return beam.Pipeline(options=parsed)
  except SystemExit:
    reason = said.getvalue().strip().rpartition("error: ")[2]
  except Exception as error:
    reason = " ".join(str(error).split()).rstrip(".")
  _end(
    f"what follows -- must be flags that it takes: {reason}. Received: "
    + " ".join(flags)
  )


def _end(message) -> NoReturn:
  """Says why, and ends this process, its threads and its workers."""
  print(f"\n{beam_.SAYS}{message}", file=sys.stderr, flush=True)
  sys.stdout.flush()
  os.killpg(0, signal.SIGKILL)
  # Not reached; a signal is delivered at once.
  sys.exit(1)


def _end_with_input(job):
  # Not sys.stdin, whose lock this thread would hold when the process ends.
  while os.read(sys.stdin.fileno(), 1):
    pass
  for running in job:
    # Not all runners can.
    with contextlib.suppress(Exception):
      running.cancel()
  os.killpg(0, signal.SIGKILL)


def _worker_died(arguments):
  """Ends where a thread of Beam finds that its worker has ended.

  That thread dies of it, and the pipeline would wait for the worker for ever.
  """
  if "exited with return code" in str(arguments.exc_value):
    _end(f"a worker was killed; {_GO_ON}. Received: {arguments.exc_value}")
  threading.__excepthook__(arguments)


def _cause(error):
  """What a worker ended with, by Beam's error, whose text is its trace."""
  lines = re.findall(r"^(?:\w+\.)*(\w*Error: .*)", str(error), re.M)
  cause = lines[-1] if lines else f"{type(error).__name__}: {error}"
  return "Received: " + " ".join(cause.partition(" [while running")[0].split())


if __name__ == "__main__":
  main()

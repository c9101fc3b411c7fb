"""Other processes: TensorFlow workers on loopback, and the holder of a lock."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def free_ports(count):
  """Ports that were free a moment ago."""
  sockets = [socket.socket() for _ in range(count)]
  for s in sockets:
    s.bind(("127.0.0.1", 0))
  ports = [s.getsockname()[1] for s in sockets]
  for s in sockets:
    s.close()
  return ports


def run_workers(command, count=2, timeout=240, started=None, check=True):
  """Starts `count` processes with TF_CONFIG and waits for them.

  They run in the root of the checkout, so that "-m tests.x" is found.

  Args:
    command: list of str, what to run after the Python interpreter. "{task}" in
      an argument becomes the worker's number.
    count: number of workers.
    timeout: seconds.
    started: how many of them are started, all by default.
    check: whether all must end well.

  Returns:
    list of stdout, one a worker; without check of (exit code, stderr).

  Raises:
    AssertionError: when a worker fails, with the end of its stderr.
  """
  addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
  processes = []
  for task in range(started or count):
    config = {
      "cluster": {"worker": addresses},
      "task": {"type": "worker", "index": task},
    }
    environment = {
      **os.environ,
      "TF_CONFIG": json.dumps(config),
      "TF_CPP_MIN_LOG_LEVEL": "3",
      "CUDA_VISIBLE_DEVICES": "",
    }
    processes.append(
      subprocess.Popen(
        [sys.executable, *(a.replace("{task}", str(task)) for a in command)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
  try:
    outputs = [p.communicate(timeout=timeout) for p in processes]
  finally:
    for p in processes:
      p.kill()
  if not check:
    return [(p.returncode, err) for p, (_, err) in zip(processes, outputs)]
  for process, (_, stderr) in zip(processes, outputs):
    assert process.returncode == 0, stderr[-3000:]
  return [stdout for stdout, _ in outputs]


@contextlib.contextmanager
def holding(code, path, **environment):
  """A process that holds a lock while the block runs.

  Args:
    code: what it runs: takes the lock, prints "has it" and reads a line.
    path: its argument.
    **environment: variables beside those of this process.

  Yields:
    The `subprocess.Popen`.
  """
  process = subprocess.Popen(
    [sys.executable, "-c", code, str(path)],
    cwd=ROOT,
    env={**os.environ, **environment},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == "has it\n"
  yield process
  process.kill()
  process.communicate()

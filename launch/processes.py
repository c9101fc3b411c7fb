"""Programs of this package run in processes of their own, one at a time."""

import os
import pathlib
import signal
import subprocess
import sys
import time

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_POLL_SECONDS = 0.5
_SHOWN_LINES = 15


class ProgramFailed(RuntimeError):
  """A program ended with an error; the message holds its last lines."""


def run(module, arguments, log, watch=lambda: None):
  """Runs `python -m module` to its end.

  The process gives all its memory back when it ends. Interrupting this one ends
  that one by SIGTERM, which makes launch.train save a checkpoint, and waits for
  it.

  Args:
    module: str, for example "launch.train".
    arguments: list of str.
    log: file that its output is added to, after the command.
    watch: function without arguments, called twice a second meanwhile.

  Raises:
    ProgramFailed: when its exit code is not 0.
  """
  command = [sys.executable, "-m", module, *arguments]
  path = pathlib.Path(log)
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("a") as file:
    file.write(f"$ python -m {module} {' '.join(arguments)}\n")
    file.flush()
    child = subprocess.Popen(
      command,
      cwd=_ROOT,
      # The bar of the whole is shown by the caller.
      env={
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TQDM_MININTERVAL": "30",
        **os.environ,
      },
      stdout=file,
      stderr=subprocess.STDOUT,
      # Ctrl-C in a terminal reaches a whole process group: the child would get
      # it twice, the second time while it saves.
      start_new_session=True,
    )
    try:
      while child.poll() is None:
        watch()
        time.sleep(_POLL_SECONDS)
    except BaseException:
      child.send_signal(signal.SIGTERM)
      child.wait()
      raise
  watch()
  if child.returncode:
    last = path.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
    raise ProgramFailed(
      f"python -m {module} {' '.join(arguments)} ended with exit code "
      f"{child.returncode}; see {log}:\n" + "\n".join(last)
    )

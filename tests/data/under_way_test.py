"""Reads that are under way when the interpreter ends, in one that ends."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# A thread calls the functions, as those of TensorFlow do: it is not waited for.
PROGRAM = """
import sys, threading, time
from tf_pcc.data import under_way

def read(step):
  time.sleep(0.5)
  print("read", step, flush=True)

read = under_way.at_most_until_exit(read) if {wrapped} else read

def pipeline():
  for step in range(100):
    try:
      read(step)
    except RuntimeError as error:
      print(type(error).__name__, error, flush=True)
      time.sleep(0.05)

threading.Thread(target=pipeline, daemon=True).start()
time.sleep(0.2)
sys.exit(3)
"""


def lines_of(wrapped):
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM.format(wrapped=wrapped)],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
    timeout=60,
  )
  assert done.returncode == 3, done.stderr
  return done.stdout.splitlines()


def test_what_has_begun_is_waited_for_and_nothing_begins_any_more():
  first, *others = lines_of(wrapped=True)
  assert first == "read 0"
  assert others and set(others) == {
    "RuntimeError The program is ending: nothing more is read."
  }


def test_without_it_nothing_is_waited_for():
  assert lines_of(wrapped=False) == []

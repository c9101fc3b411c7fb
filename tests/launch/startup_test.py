"""TensorFlow's import says nothing in a program; everything else is kept."""

import os
import subprocess
import sys

import pytest

from launch import startup


def _stderr(code, **environment):
  return subprocess.run(
    [sys.executable, "-c", code],
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    capture_output=True,
    text=True,
    check=True,
    timeout=200,
  ).stderr


def test_tensorflow_starts_in_silence():
  code = (
    "import launch, sys, tensorflow as tf\n"
    "assert tf.reduce_sum(tf.ones(3)) == 3\n"
    "print('after', file=sys.stderr)"
  )
  assert _stderr(code) == "after\n"


def test_another_level_of_the_log_is_obeyed():
  code = "import launch, sys; print(len(sys.meta_path), file=sys.stderr)"
  quiet, loud = (_stderr(code, TF_CPP_MIN_LOG_LEVEL=x) for x in "30")
  assert int(quiet) == int(loud) + 1


def test_the_list_of_programs_does_without_tensorflow():
  code = (
    "import launch.__main__, sys\n"
    "print('tensorflow' in sys.modules, file=sys.stderr)"
  )
  assert _stderr(code) == "False\n"


@pytest.mark.parametrize(
  ("line", "kept"),
  [
    ("I0000 00:00:1795712887.828430   10858 port.cc:153] oneDNN", False),
    ("2026-11-26 16:02:20.751694: W tensorflow/x.cc:38] TensorRT", False),
    ("WARNING: All log messages before absl::InitializeLog() is", False),
    ("F0000 00:00:1795712887.828430   10858 port.cc:153] it dies", True),
    ("UserWarning: a warning of Python's", True),
    ("Traceback (most recent call last):", True),
  ],
)
def test_log_lines_only_are_dropped(capfd, line, kept):
  with startup.quiet():
    os.write(2, f"{line}\n".encode())
  assert capfd.readouterr().err == (f"{line}\n" if kept else "")


def test_lines_are_kept_when_the_block_raises(capfd):
  with pytest.raises(ZeroDivisionError), startup.quiet():
    os.write(2, b"said before\n")
    raise ZeroDivisionError
  assert capfd.readouterr().err == "said before\n"

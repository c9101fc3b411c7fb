"""The copy of a program's output: all of it, also what it ends with."""

import os
import pathlib
import subprocess
import sys

import pytest

from launch.runs import log_copy
from tests.launch.conftest import ROOT


def _copied(folder):
  (path,) = (folder / "logs").iterdir()
  return path.read_text()


PROGRAM = """
import sys, time
from launch.runs import log_copy
copy = log_copy.Copy(sys.argv[1], sys.argv[2])
copy.start(every=0.05)
print("begun")
{end}
"""


@pytest.mark.parametrize(
  "end, last",
  [
    ("sys.exit('it failed: no space')", "it failed: no space\n"),
    ("raise RuntimeError('broken')", "RuntimeError: broken\n"),
    ("print('done')", "done\n"),
  ],
)
def test_the_end_is_copied_too(tmp_path, end, last):
  log = tmp_path / "train.log"
  log.write_text("of an earlier program\n")
  command = [sys.executable, "-c", PROGRAM.format(end=end), log, tmp_path]
  environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
  with open(log, "ab") as output:
    subprocess.run(
      command,
      cwd=ROOT,
      stdout=output,
      stderr=subprocess.STDOUT,
      check=False,
      env=environment,
    )
  found = _copied(tmp_path)
  assert "begun\n" in found and found.endswith(last)
  assert "earlier" not in found
  assert log.read_text() == "of an earlier program\n" + found


def test_it_is_copied_while_it_grows(tmp_path):
  log = tmp_path / "train.log"
  log.touch()
  copy = log_copy.Copy(str(log), tmp_path)
  (tmp_path / "logs").mkdir()
  for text in ("one\n", "one\ntwo\n"):
    log.write_text(text)
    copy.copy()
    assert _copied(tmp_path) == text
  before = os.stat(copy.target).st_ino
  copy.copy()
  assert os.stat(copy.target).st_ino == before, "written without need"


def test_a_copy_that_fails_is_a_warning(tmp_path, caplog):
  log = tmp_path / "train.log"
  log.touch()
  copy = log_copy.Copy(str(log), tmp_path)
  log.write_text("one\n")
  (tmp_path / "logs").write_text("a file where a folder should be")
  copy.copy()
  assert "the log is not copied" in caplog.text
  (tmp_path / "logs").unlink()
  (tmp_path / "logs").mkdir()
  copy.copy()
  assert pathlib.Path(copy.target).read_text() == "one\n"


def test_the_log_must_be_there(tmp_path):
  with pytest.raises(ValueError, match="--output_log must be.*none.log"):
    log_copy.Copy(str(tmp_path / "none.log"), tmp_path)

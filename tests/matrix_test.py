"""The matrix and setup.cfg name the same versions, and its table is true."""

import configparser
import pathlib
import re
import sys

import pytest

from tests import matrix
from tf_pcc import compatibility

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _minor(version):
  return compatibility.parse(version)


def _required():
  """{package: specifier} of setup.cfg, with that of Python."""
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  options = config["options"]
  lines = options["install_requires"].split("\n")[1:]
  parts = [re.match(r"([\w-]+)\s*([^;]*)", line) for line in lines]
  return {
    "python": options["python_requires"],
    **{part[1]: part[2].strip() for part in parts},
  }


def test_the_ranges_are_the_same_everywhere():
  required = _required()
  for name, (oldest, newest) in {
    "python": compatibility.PYTHON,
    "tensorflow": compatibility.VERSIONS["tensorflow"],
  }.items():
    found = re.findall(r"[\d.]+", required[name])
    above = (newest[0], newest[1] + 1)
    assert [_minor(version) for version in found] == [oldest, above], name
  for name in ("keras", "numpy"):
    (found,) = re.findall(r"[\d.]+", required[name])
    assert _minor(found) == compatibility.VERSIONS[name][0]


def test_the_matrix_covers_the_ranges():
  pythons, tensorflows = zip(*matrix.pairs())
  for found, (oldest, newest) in (
    (pythons, compatibility.PYTHON),
    (tensorflows, compatibility.VERSIONS["tensorflow"]),
  ):
    minors = {_minor(version) for version in found}
    assert minors == {(oldest[0], m) for m in range(oldest[1], newest[1] + 1)}


def test_the_core_suite_is_there():
  assert [name for name in matrix.CORE if not (ROOT / name).exists()] == []


def test_this_python_is_found():
  here = "{}.{}".format(*sys.version_info)
  assert matrix.interpreter(here)
  assert matrix.interpreter("3.1") is None


def test_a_pair_without_an_interpreter_is_refused(tmp_path):
  with pytest.raises(ValueError, match="python3.1 is not installed"):
    matrix.environment("3.1", "2.17.1", tmp_path)


def _main(monkeypatch, *arguments):
  monkeypatch.setattr(sys, "argv", ["matrix", *map(str, arguments)])
  return matrix.main()


def test_without_an_oldest_python_the_run_says_so(monkeypatch, capsys):
  monkeypatch.setattr(matrix, "interpreter", lambda python: None)
  assert _main(monkeypatch, "--oldest") == 0
  assert capsys.readouterr().out == (
    "TensorFlow 2.17.1 skipped: no Python 3.10 or 3.11 here\n"
  )


def test_the_oldest_tensorflow_runs_on_the_oldest_python(monkeypatch, capsys):
  asked = []

  def environment(python, tensorflow, folder):
    asked.append((python, tensorflow))
    raise ValueError("pip: no")

  monkeypatch.setattr(matrix, "environment", environment)
  monkeypatch.setattr(
    matrix, "interpreter", lambda python: python != "3.10" and "python"
  )
  assert _main(monkeypatch, "--oldest") == 1
  assert asked == [("3.11", "2.17.1")]
  assert "pip: no" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("assertion", "code", "shown"), [("True", 0, False), ("False", 1, True)]
)
def test_what_pytest_closed_with_is_printed(
  monkeypatch, capsys, tmp_path, assertion, code, shown
):
  suite = tmp_path / "suite_test.py"
  suite.write_text(f"def test_it(): assert {assertion}")
  (tmp_path / "python3.11-tf2.21.0").mkdir()
  monkeypatch.setattr(matrix, "interpreter", lambda python: sys.executable)
  monkeypatch.setattr(
    matrix, "environment", lambda python, tensorflow, folder: sys.executable
  )
  arguments = ("--pairs", "3.11:2.21.0", "--processes", 0)
  arguments += ("--folder", tmp_path, "--suite", suite)
  assert _main(monkeypatch, *arguments) == code
  printed = capsys.readouterr().out
  assert re.search(r"\b1 (passed|failed) in [\d.]+s", printed)
  assert ("assert False" in printed) == shown


def test_failures_and_skips_are_counted(tmp_path):
  suite = tmp_path / "suite_test.py"
  suite.write_text(
    "import pytest\n"
    "def test_passes(): pass\n"
    "def test_fails(): assert False\n"
    "def test_skips(): pytest.skip('the reason')\n"
  )
  row, remarks = matrix.run(sys.executable, [str(suite)], 0, tmp_path)
  assert row[-3:] == ["1", "1", "1"]
  assert [line.partition(":")[0] for line in remarks] == ["failed", "1 skipped"]
  assert remarks[1].endswith("the reason")
  assert matrix.table([["3.11", *row]]).count("\n") == 2

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
  assert [line.partition(":")[0] for line in remarks] == ["failed", "skipped"]
  assert remarks[1].endswith("the reason")
  assert matrix.table([["3.11", *row]]).count("\n") == 2

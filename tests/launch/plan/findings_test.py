"""What is kept of a compilation, and what is read from it later."""

import dataclasses
import json

import pytest

from launch.plan import findings, step
from tests.launch.plan import steps

FACTS = steps.TRACED
GIB = steps.GIB
PROGRAM = """HloModule step
  %sum = f32[3,16]{1,0} all-reduce(%a), to_apply=%add
  %other = f32[9]{0} fusion(%sum), kind=kLoop
"""
FULL = (
  "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm.\n"
  "Used 20.00G of 15.75G hbm."
)


def compiled(tmp_path):
  path = tmp_path / "program.hlo"
  path.write_text(PROGRAM)
  return {
    "memory": {
      "argument": 4 * GIB,
      "temp": 6 * GIB,
      "generated_code": GIB,
      "output": 3 * GIB,
      "alias": 2 * GIB,
    },
    "flops": 11.0,
    "bytes": 13.0,
    "hlo": str(path),
    "peak_memory": 1,
    "cpu_seconds": 2.0,
  }


def refused(error):
  return {"error": error, "peak_memory": 1, "cpu_seconds": 2.0}


def of_compiler(result):
  return findings.compiled(FACTS, result)


def test_what_follows_is_read_again(tmp_path):
  """Also where the file says otherwise, as an earlier reading may have."""
  found = findings.derive(of_compiler(compiled(tmp_path)), 15 * GIB)
  assert found.fits and found.compiles and found.error is None
  assert found.memory == step.Memory(
    needed=12 * GIB,
    available=15 * GIB,
    arguments=4 * GIB,
    temporaries=6 * GIB,
    code=GIB,
    outputs=GIB,
  )
  assert found.memory.spare == 3 * GIB
  assert found.collectives_compiled == (
    step.CompiledCollective("all-reduce", 192, 1),
  )
  assert (found.compiler_flops, found.compiler_bytes) == (11, 13)
  path = tmp_path / "kept.json"
  findings.write(path, found)
  assert findings.read(path, 15 * GIB) == found
  wrong = json.loads(path.read_text())
  wrong["collectives_compiled"] = []
  wrong["memory"] = None
  path.write_text(json.dumps(wrong))
  assert findings.read(path, 15 * GIB) == found
  # Another figure of the chip's memory needs no new compilation.
  smaller = findings.read(path, 11 * GIB)
  assert not smaller.fits and smaller.memory.spare == -GIB


def test_a_complaint_about_memory():
  found = findings.derive(of_compiler(refused(FULL)), GIB)
  assert not found.compiles and not found.fits
  assert found.error == FULL.splitlines()[0]
  assert found.memory == step.Memory(20 * GIB, int(15.75 * GIB))
  # Read again, from all of the words.
  again = dataclasses.replace(found, memory=None)
  assert findings.derive(again, GIB) == found


@pytest.mark.parametrize(
  ("found", "lasts"),
  [
    (dataclasses.replace(FACTS, rejected="no form for tf.Where"), True),
    (of_compiler(refused(FULL)), True),
    (of_compiler(refused("INTERNAL: disk full")), False),
  ],
)
def test_what_may_be_this_machines_fault_is_not_kept(tmp_path, found, lasts):
  found = findings.derive(found, GIB)
  assert findings.lasts(found) is lasts
  path = tmp_path / "kept.json"
  findings.write(path, found)
  assert (findings.read(path, GIB) is not None) is lasts


def without(name, **changes):
  value = dataclasses.asdict(FACTS) | changes
  del value[name]
  return json.dumps(value)


@pytest.mark.parametrize(
  "content",
  [
    "",
    "{",
    "{}",
    "[]",
    "3",
    b"\xff\xfe",
    without("flops", rejected="x"),
    # It compiled, and a size is missing.
    without("error", compiles=True, compiler={"sizes": {"temp": 3}}),
    without("error", colour="red"),
  ],
)
def test_a_damaged_file_is_named_and_made_again(tmp_path, caplog, content):
  path = tmp_path / "kept.json"
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  with caplog.at_level("WARNING", logger="absl"):
    assert findings.read(path, GIB) is None
  assert f"{path} is damaged" in caplog.text


def test_no_file(tmp_path, caplog):
  assert findings.read(tmp_path / "none.json", GIB) is None
  assert not caplog.text

"""What is kept of a compilation, and what is read from it later."""

import json

import pytest

from launch.plan import findings

GIB = 2**30
FACTS = {
  "parameters": 5,
  "flops": 7,
  "flops_by_layer": {"head": 7},
  "collectives": {"CrossReplicaSum": [1, 8]},
  "clip": "before",
  "outside_scope": [],
  "suspects": {},
  "rejected": None,
  "compiles": False,
  "error": None,
  "fits": False,
  "memory": {},
  "seconds_to_compile": 2.0,
}
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


def test_what_follows_is_read_anew(tmp_path):
  """Also where the file says otherwise, as an earlier reading may have."""
  found = FACTS | findings.from_compiler(compiled(tmp_path))
  found = findings.derive(found, 15 * GIB)
  assert found["fits"] and found["compiles"] and found["error"] is None
  assert found["memory"] == {
    "arguments": 4 * GIB,
    "temporaries": 6 * GIB,
    "code": GIB,
    "outputs": GIB,
    "needed": 12 * GIB,
    "available": 15 * GIB,
    "spare": 3 * GIB,
  }
  assert found["collectives_compiled"] == [["all-reduce", 192, 1]]
  path = tmp_path / "kept.json"
  findings.write(path, found)
  assert findings.read(path, 15 * GIB) == found
  wrong = json.loads(path.read_text())
  wrong["collectives_compiled"] = []
  wrong["memory"] = {}
  path.write_text(json.dumps(wrong))
  assert findings.read(path, 15 * GIB) == found
  # Another figure of the chip's memory needs no new compilation.
  smaller = findings.read(path, 11 * GIB)
  assert not smaller["fits"] and smaller["memory"]["spare"] == -GIB


def test_files_from_before_the_compilers_words_were_kept(tmp_path):
  path = tmp_path / "kept.json"
  parts = {"arguments": 1, "temporaries": 2, "code": 3, "outputs": 4}
  old = FACTS | {
    "compiles": True,
    "fits": False,
    "memory": {**parts, "needed": 0, "available": 0, "spare": 0},
    "collectives_compiled": [["all-reduce", 8, 1]],
    "compiler_flops": 1.0,
    "compiler_bytes": 1.0,
  }
  path.write_text(json.dumps(old))
  found = findings.read(path, 10)
  assert found["fits"]
  assert found["memory"] == {**parts, "needed": 10, "available": 10, "spare": 0}
  assert found["collectives_compiled"] == [["all-reduce", 8, 1]]
  memory = {"needed": 20, "available": 10, "spare": -10}
  first = FULL.splitlines()[0]
  path.write_text(json.dumps(FACTS | {"error": first, "memory": memory}))
  found = findings.read(path, 10)
  assert found["memory"] == memory and not found["fits"]


def test_a_complaint_about_memory():
  found = findings.derive(FACTS | findings.from_compiler(refused(FULL)), GIB)
  assert not found["compiles"] and not found["fits"]
  assert found["error"] == FULL.splitlines()[0]
  assert found["memory"]["needed"] == 20 * GIB
  # Read anew, from all of the words.
  assert findings.derive({**found, "memory": {}}, GIB) == found


@pytest.mark.parametrize(
  ("change", "lasts"),
  [
    ({"rejected": "no form for tf.Where"}, True),
    (findings.from_compiler(refused(FULL)), True),
    (findings.from_compiler(refused("INTERNAL: disk full")), False),
    # As it was kept once.
    ({"error": "INTERNAL: disk full"}, False),
  ],
)
def test_what_may_be_this_machines_fault_is_not_kept(tmp_path, change, lasts):
  found = findings.derive(FACTS | change, GIB)
  assert findings.lasts(found) is lasts
  path = tmp_path / "kept.json"
  findings.write(path, found)
  assert (findings.read(path, GIB) is not None) is lasts


@pytest.mark.parametrize(
  "content",
  [
    "",
    "{",
    "{}",
    "[]",
    "3",
    b"\xff\xfe",
    json.dumps({**FACTS, "compiles": True}),
    json.dumps(
      {n: FACTS[n] for n in FACTS if n != "flops"} | {"rejected": "x"}
    ),
  ],
)
def test_a_damaged_file_is_named_and_made_anew(tmp_path, caplog, content):
  path = tmp_path / "kept.json"
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  with caplog.at_level("WARNING", logger="absl"):
    assert findings.read(path, GIB) is None
  assert f"{path} is damaged" in caplog.text


def test_no_file(tmp_path, caplog):
  assert findings.read(tmp_path / "none.json", GIB) is None
  assert not caplog.text

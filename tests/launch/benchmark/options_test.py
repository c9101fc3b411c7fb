"""Flags of the benchmarks: one name for one meaning, each its own defaults."""

import json
import re

import pytest

from launch.benchmark import __main__ as benchmark

# What a benchmark has of the shared flags, with its default.
FLAGS = {
  "step": {"rounds": 40},
  "ctc": {
    "rounds": 10,
    "batch": 8,
    "frames": 420,
    "labels": 100,
    "vocab": 1024,
  },
  "transducer": {
    "rounds": 20,
    "batch": 8,
    "frames": 200,
    "labels": 50,
    "vocab": 256,
    "dim": 144,
    "hidden": 144,
    "window": 5,
  },
  "streaming": {"batch": 1, "vocab": 1024},
  "attention": {"rounds": 20, "batch": 8},
  "index": {"batch": 256},
  "input": {"rounds": 8, "batch": 256},
  "peers": {"rounds": 10},
  "roofline": {"rounds": 20, "batch": 8},
}


@pytest.mark.parametrize("name", benchmark.NAMES)
def test_help_shows_what_a_benchmark_has(run_program, name):
  done = run_program("benchmark", name, "--help")
  assert done.code == 1 and "--json: " in done.stdout, done.stderr
  found = {}
  for text in done.stdout.split("\n  --")[1:]:
    if default := re.search(r"\(default: '(\d+)'\)", text):
      found[text.partition(":")[0]] = int(default[1])
  assert found == FLAGS[name]


def test_sizes_reach_the_benchmark(run_program, tmp_path):
  path = tmp_path / "ctc.json"
  sizes = {"batch": 2, "frames": 12, "labels": 3, "vocab": 5}
  arguments = [f"--{name}={size}" for name, size in sizes.items()]
  done = run_program(
    "benchmark", "ctc", *arguments, "--rounds=3", f"--json={path}"
  )
  assert done.code == 0, done.stderr
  assert json.loads(path.read_text())["sizes"] == sizes


@pytest.mark.parametrize("name", benchmark.NAMES)
@pytest.mark.parametrize(
  ("flag", "named"),
  [("--json=/nowhere/a.json", "--json"), ("--vocab=1", "vocab")],
)
def test_what_cannot_be(run_program, name, flag, named):
  if flag == "--vocab=1" and "vocab" not in FLAGS[name]:
    flag, named = "--rounds=2", "rounds"
    if named not in FLAGS[name]:
      flag, named = "--batch=0", "batch"
  assert named in run_program("benchmark", name, flag).complaint


def test_the_names_of_the_benchmarks(run_program):
  for arguments, code in (([], 0), (["--help"], 1)):
    done = run_program("benchmark", *arguments)
    assert done.code == code
    assert all(f"\n{name} " in done.stdout for name in benchmark.NAMES)
  assert "Received: fast" in run_program("benchmark", "fast").complaint

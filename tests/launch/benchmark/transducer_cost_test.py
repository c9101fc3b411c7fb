"""launch.benchmark transducer: the forms of one loss, timed and weighed."""

import json

import pytest

from launch.benchmark import transducer_cost

SIZES = {
  "batch": 2,
  "frames": 6,
  "labels": 3,
  "vocab": 5,
  "dim": 4,
  "hidden": 4,
  "window": 4,
}
# Bytes for each class that the processes of a test say they took.
BYTES = {"plain": 1000, "fused": 100, "pruned": 150}


def test_a_small_run(tmp_path, monkeypatch):
  # Three processes that import TensorFlow would take longer than all the rest.
  monkeypatch.setattr(
    transducer_cost.processes,
    "run",
    lambda module, arguments, log: (
      (tmp_path / "log").write_text(f"{module} {log}"),
      _weigh(dict(a[2:].split("=") for a in arguments[1:])),
    ),
  )
  figures = transducer_cost.measure(transducer_cost.FORMS, SIZES, False, 3)
  assert list(figures) == list(transducer_cost.FORMS)
  for form, row in figures.items():
    low, high = row["quartiles_seconds"]
    assert 0 < low <= row["median_seconds"] <= high
    assert row["median_cpu_seconds"] > 0
    # A window of four columns holds all of three labels.
    assert abs(row["loss"] / figures["plain"]["loss"] - 1) < 1e-5
    # What a form weighs in the process of its own that it is asked for.
    assert row["peak_bytes"] == BYTES[form] * 5
  assert figures["pruned"]["memory_ratio"] == 0.15
  low, high = figures["fused"]["quartiles_cpu_ratio"]
  assert 0 < low <= figures["fused"]["cpu_ratio"] <= high
  json.dumps(figures)


def test_a_narrow_window_keeps_fewer_paths():
  full, pruned = (
    transducer_cost.make_step(form, {**SIZES, "window": 2}, False)()
    for form in ("fused", "pruned")
  )
  assert pruned > full + 0.01


def test_forms_by_name():
  assert transducer_cost.chosen(["pruned", "fused"]) == ["fused", "pruned"]
  for names in ([], ["fused", "quick"]):
    with pytest.raises(ValueError, match="--forms must be some of .*Received"):
      transducer_cost.chosen(names)


def _weigh(flags):
  vocab, form = int(flags["vocab"]), flags["peak_of"]
  with open(flags["json"], "w") as file:
    json.dump({"peak_bytes": vocab * BYTES[form]}, file)


def test_peak_counts_the_logits(run_program, tmp_path):
  """64 MiB of them, in processes where no earlier test has left room."""
  flags = ["--batch=8", "--frames=64", "--labels=63", "--vocab=512"]
  flags += ["--dim=4", "--hidden=4"]
  found = {}
  for form in ("plain", "fused"):
    path = tmp_path / f"{form}.json"
    done = run_program(
      "benchmark.transducer_cost",
      *(*flags, f"--peak_of={form}", f"--json={path}"),
    )
    assert done.code == 0, done.stderr
    found[form] = json.loads(path.read_text())["peak_bytes"]
  plain, fused = found["plain"], found["fused"]
  assert plain > 40 * 2**20 and fused < plain / 2

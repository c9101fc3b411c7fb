"""launch.benchmark transducer: both forms of one loss, timed and weighed."""

import json

from launch.benchmark import transducer_cost

SIZES = {
  "batch": 2,
  "frames": 6,
  "labels": 3,
  "vocab": 5,
  "dim": 4,
  "hidden": 4,
}


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
  figures = transducer_cost.measure(SIZES, False, 3)
  assert list(figures) == ["plain", "fused"]
  for row in figures.values():
    low, high = row["quartiles_seconds"]
    assert 0 < low <= row["median_seconds"] <= high
  plain, fused = figures["plain"], figures["fused"]
  assert abs(plain["loss"] / fused["loss"] - 1) < 1e-5
  # What the two forms weigh in the process of their own they are asked for.
  assert plain["peak_bytes"] == 1000 * 5 and fused["peak_bytes"] == 100 * 5
  json.dumps(figures)


def _weigh(flags):
  vocab, form = int(flags["vocab"]), flags["peak_of"]
  with open(flags["json"], "w") as file:
    json.dump({"peak_bytes": vocab * {"plain": 1000, "fused": 100}[form]}, file)


def test_peak_counts_the_logits(run_program, tmp_path):
  """64 MiB of them, in processes where no earlier test has left room."""
  flags = ["--batch=8", "--frames=64", "--labels=63", "--vocab=512"]
  flags += ["--dim=4", "--hidden=4"]
  found = {}
  for form in transducer_cost.FORMS:
    path = tmp_path / f"{form}.json"
    done = run_program(
      "benchmark.transducer_cost",
      *(*flags, f"--peak_of={form}", f"--json={path}"),
    )
    assert done.code == 0, done.stderr
    found[form] = json.loads(path.read_text())["peak_bytes"]
  plain, fused = found["plain"], found["fused"]
  assert plain > 40 * 2**20 and fused < plain / 2

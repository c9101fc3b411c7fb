"""The program: its answer, its file and its exit code."""

import types

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from launch.plan import __main__ as program
from launch.plan import planning
from tests.launch.plan import steps
from tf_pcc import files


class Crowded:
  """A planner of a step that needs 1 GiB and 2 GiB an utterance more."""

  largest = planning.Planner.largest

  def __init__(self, topology):
    self._limit = topology.chip.memory

  def compile(self, shape):
    needed = (1 + 2 * shape.batch) * 2**30
    if needed > self._limit:
      return steps.crowded(needed, self._limit)
    return steps.compiled(needed, self._limit)


def test_what_does_not_fit_ends_with_the_batch_that_does(
  monkeypatch, capsys, tmp_path
):
  monkeypatch.setattr(planning, "Planner", lambda c, t, *_: Crowded(t))
  if not absl_flags.FLAGS.is_parsed():
    absl_flags.FLAGS(["test"])
  path = str(tmp_path / "plan.json")
  flags = {"topology": "v5e:2x2", "per_core_batch": 32, "json": path}
  with flagsaver.flagsaver(**flags):
    monkeypatch.setattr(
      program, "_CONFIG", types.SimpleNamespace(value=steps.tiny())
    )
    with pytest.raises(SystemExit) as ended:
      program.main([])
  assert ended.value.code == 2
  printed = capsys.readouterr().out
  assert "65.00 GiB needed, 15.75 GiB available: DOES NOT FIT" in printed
  assert "largest batch of a core that fits: 7" in printed
  assert "needed is what the compiler's complaint names" in printed
  written = files.read_json(path)
  assert written["topology"] == "v5e:2x2" and not written["fits"]
  assert written["buckets"][0]["largest_batch"] == 7
  assert written["buckets"][0]["step"]["memory"]["needed"] == 65 * 2**30
  assert all(name == name.strip() for name in written)

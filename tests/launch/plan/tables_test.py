"""Tables are made from what the planner finds."""

import pytest

from launch.plan import __main__ as program
from launch.plan import planning, tables, topologies
from models import registry
from tests.launch.plan import planning_test


class Planner:
  """Says of a program what follows from its size, clipping and cores."""

  def __init__(self, config, topology):
    self._encoder = config.model.fields.to_dict().get("encoder", {})
    self._clips = config.clipping.method != "none"
    self._cores, self._memory = topology.cores, topology.chip.memory

  def compile(self, shape):
    parameters = 100 * self._encoder.get("dim", 10)
    extra = 3 * parameters if self._clips else 0
    blocks = self._encoder.get("blocks", 1) - 1
    sums = [["all-reduce", 4 * parameters, 9]]
    if self._clips:
      sums.append(["all-reduce", 8 * self._cores, 1])
    return {
      "parameters": parameters,
      "memory": {
        "needed": (shape.batch + blocks) * 2**30,
        "available": self._memory,
        "arguments": 0,
        "temporaries": (shape.batch + blocks) * 2**30,
        "code": 0,
        "outputs": 0,
      },
      "fits": True,
      "compiles": True,
      "flops": 10**9,
      "compiler_flops": 10**9 + extra,
      "compiler_bytes": 10**9,
      "collectives_compiled": sums,
      "seconds_to_compile": 1.0,
    }


@pytest.fixture
def config(monkeypatch):
  monkeypatch.setattr(tables, "_planner", Planner)
  monkeypatch.setattr(
    tables,
    "_shape",
    lambda config, topology, batch=None: planning.Shape(
      batch or config.batch // topology.cores, 8000, 10, 32
    ),
  )
  return planning_test.tiny()


def test_methods(config):
  rows = tables.methods(config, ["v5e:2x2", "v5e:2x4"])
  assert [r["method"] for r in rows] == 2 * list(tables.METHODS)
  assert rows[0]["more"] == "+0.00%" and rows[0]["collectives"] == 1
  assert rows[2]["collectives"] == 2 and rows[2]["small"] == 2
  # Each slice is compared with its own program without clipping.
  assert rows[4]["HBM, GiB"] == "1.00" and rows[4]["more"] == "+0.00%"


def test_sizes(config):
  rows = tables.sizes(config, ["v4:2x2x1"], ["S", "M"])
  assert [r["size"] for r in rows] == ["S", "M"]
  assert rows[0]["available"] == "15.25" and rows[0]["fits"] == "yes"


def test_sizes_on_a_line(config):
  config.model.fields = {}
  # Two utterances a core; 16 and 17 blocks.
  rows = tables.sizes(config, ["v5e:2x2"], ["S", "L"], (2, 4))
  one, other = tables.methods(config, ["v5e:2x2"], ["PCC", "APCC"], (2, 4))
  assert [r["HBM, GiB"] for r in rows] == ["17.00", "18.00"]
  assert [r["fits"] for r in rows] == ["no", "no"]
  assert [r["largest"] for r in rows] == [1, 1]
  assert (one["method"], other["more"]) == ("PCC", "+0.00%")


def test_cores_agree_with_the_formula(config):
  rows = tables.cores(config)
  assert [r["cores"] for r in rows] == [4, 8, 16, 32, 64, 128, 256]
  for row in rows:
    assert row["bytes all-reduced more"] == row["by formula  "]
    assert row["GFLOP more"] == row["by formula"]


def test_large_models_by_formula(config):
  rows = tables.parameters(config, largest=5e6)
  assert [r["GFLOP more"] == "-" for r in rows] == [False] * 2 + [True] * 4
  assert rows[-1]["parameters"] == "about 988M"
  assert tables.markdown(rows).count("\n") == len(rows) + 1


def test_the_formula_counts_the_matrices():
  """What is no matrix of width x width is the smaller the wider the model."""

  def others(width):
    encoder = {"dim": width, "blocks": 4, "heads": 4}
    fields = {"size": "tiny", "encoder": encoder}
    model = registry.build_model("conformer_ctc", fields, 32)
    return model.count_params() / (tables._MATRICES * width**2) - 1

  assert 0 < others(128) < others(64) / 1.9 < 0.15


def test_the_program_is_asked_for_shapes():
  topology = topologies.parse("v5e:2x2")
  (shape,) = program.shapes(planning_test.tiny(), 8 // topology.cores)
  assert shape == planning.Shape(2, 8000, 10, 32)

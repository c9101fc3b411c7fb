"""Tables are made from what the planner finds."""

import math

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

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


class Crowded(Planner):
  """The same where nothing fits, or no more than micro-batches make fit."""

  most = 0

  def __init__(self, config, topology):
    super().__init__(config, topology)
    self._parts = config.clipping.microbatches

  def compile(self, shape):
    found = super().compile(shape)
    if self._parts <= self.most:
      return found
    return {
      **{name: found[name] for name in ("parameters", "flops")},
      "memory": {"needed": 2**35, "available": 2**34, "spare": -(2**34)},
      "fits": False,
      "compiles": False,
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


def test_methods_against_one_that_does_not_fit(config, monkeypatch):
  """No clipping does not fit, and micro-batches do."""

  class Both(Crowded):
    def compile(self, shape):
      self.most = self._parts if self._parts > 1 else 0
      return super().compile(shape)

  monkeypatch.setattr(tables, "_planner", Both)
  none, *_, parts = tables.methods(config, ["v5e:2x2"])
  assert none["HBM, GiB"] == "over 32.00" and none["GFLOP"] == "-"
  unknown = ("more", "more ", "GB moved", "collectives", "small")
  assert all(none[name] == "-" for name in unknown)
  assert none["MB all-reduced"] == "-"
  assert parts["HBM, GiB"] == "2.00" and parts["collectives"] == 2
  assert parts["more"] == parts["more "] == "-"


def test_what_does_not_fit_has_no_difference(config, monkeypatch):
  monkeypatch.setattr(tables, "_planner", Crowded)
  rows = [*tables.cores(config), *tables.parameters(config, 5e6)]
  for row in rows:
    assert row["GFLOP more"] == row["GB more"] == "-"
    assert row["collectives more"] == row["bytes all-reduced more"] == "-"
    assert row["by formula"] != "-"
  (row,) = tables.sizes(config, ["v4:2x2x1"], ["S"])
  assert row["HBM, GiB"] == "over 32.00" and row["fits"] == "no"
  assert row["largest"] == "-" and row["ms, estimate"] == "-"


def checked(table, given, config=None, **options):
  """`tables.check` as the program calls it, with these other flags."""
  if not absl_flags.FLAGS.is_parsed():
    absl_flags.FLAGS(["test"])
  with flagsaver.flagsaver(**{"per_core_batch": None, **options}):
    return tables.check(table, given, config or planning_test.tiny())


@pytest.mark.parametrize(
  ("table", "given", "message"),
  [
    ("methods", {"topologies": ["v5e:2x2", "v5e:3x3"]}, "v5e:3x3"),
    (
      "methods",
      {"topologies": []},
      "--topologies must be some of v4.*topologies=$",
    ),
    ("methods", {"topologies": ["v5e:4x4"]}, "cores, 16 .*batch=8"),
    ("sizes", {"topologies": ["v5e:8x8"]}, "cores, 64 .*batch=8"),
    ("methods", {"methods": ["PCC", "QCC"]}, "APCC.*methods=PCC,QCC"),
    ("methods", {"methods": []}, "--methods must be some of none, PCC"),
    ("sizes", {"sizes": ["S", "XL"]}, "--sizes must be some of .*=S,XL"),
    ("sizes", {"sizes": []}, "--sizes must be some of tiny"),
    ("methods", {"blocks": ["02", "2"]}, "blocks=02,2"),
    ("methods", {"blocks": ["0", "2"]}, "blocks=0,2"),
    ("methods", {"blocks": ["2"]}, "blocks=2"),
    ("methods", {"blocks": []}, "blocks=$"),
    ("sizes", {"blocks": ["-1", "x"]}, "blocks=-1,x"),
    ("cores", {"blocks": ["2", "4"]}, "for --table=methods or --table=sizes"),
    ("parameters", {"blocks": ["2", "4"]}, "Received: table=parameters, bl"),
    ("cores", {"topologies": ["v5e:2x2"]}, "--topologies is for"),
    ("sizes", {"methods": ["PCC"]}, "--methods is for --table=methods"),
    ("methods", {"largest": 1e6}, "--largest is for --table=parameters"),
    ("parameters", {"largest": math.nan}, "largest=nan"),
  ],
)
def test_what_cannot_be_is_refused_before_the_first_program(
  table, given, message
):
  with pytest.raises(ValueError, match=message):
    checked(table, given)


def test_configs_that_cannot_be():
  config = planning_test.tiny()
  # One utterance a core has no two parts.
  with pytest.raises(ValueError, match="(?i)microbatches"):
    checked("methods", {}, config)
  config.model = {"name": "lstm_ctc", "fields": {}}
  with pytest.raises(ValueError, match="model.name='lstm_ctc'"):
    checked("methods", {"methods": ["PCC"], "blocks": ["2", "4"]}, config)
  config.model.name = "none such"
  with pytest.raises(ValueError, match="must be one of .*'none such'"):
    checked("sizes", {}, config)


def test_what_can_be():
  assert checked("methods", {"topologies": ["v5e:2x2"]}) == []
  assert checked("sizes", {"blocks": ["4", "2"]}) == [4, 2]
  assert checked("sizes", {"topologies": ["v5e:8x8"]}, per_core_batch=3) == []
  assert checked("cores", {}) == checked("parameters", {"largest": 1e9}) == []


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

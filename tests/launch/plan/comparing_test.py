"""Rows are made from what the planner finds."""

import pytest

from launch.plan import comparing, job, step
from models import registry
from tests.launch.plan import steps

SETTINGS = job.Request()


class Planner:
  """Says of a program what follows from its size, clipping and cores."""

  def __init__(self, config, topology, settings):
    self._encoder = config.model.fields.to_dict().get("encoder", {})
    self._clips = config.clipping.method != "none"
    self._cores, self._memory = topology.cores, topology.chip.memory

  def compile(self, shape):
    parameters = 100 * self._encoder.get("dim", 10)
    extra = 3 * parameters if self._clips else 0
    blocks = self._encoder.get("blocks", 1) - 1
    sums = [step.CompiledCollective("all-reduce", 4 * parameters, 9)]
    if self._clips:
      sums.append(step.CompiledCollective("all-reduce", 8 * self._cores, 1))
    return steps.compiled(
      (shape.batch + blocks) * 2**30,
      self._memory,
      parameters=parameters,
      flops=10**9,
      compiler_flops=10**9 + extra,
      compiler_bytes=10**9,
      collectives_compiled=tuple(sums),
    )


class Crowded(Planner):
  """The same where nothing fits, or no more than micro-batches make fit."""

  most = 0

  def __init__(self, config, topology, settings):
    super().__init__(config, topology, settings)
    self._parts = config.clipping.microbatches

  def compile(self, shape):
    found = super().compile(shape)
    if self._parts <= self.most:
      return found
    return steps.crowded(
      2**35, 2**34, parameters=found.parameters, flops=found.flops
    )


@pytest.fixture
def config(monkeypatch):
  monkeypatch.setattr(job, "make_planner", Planner)
  return steps.tiny()


def test_methods(config):
  rows = comparing.methods(config, ["v5e:2x2", "v5e:2x4"], SETTINGS)
  assert [r["method"] for r in rows] == 2 * list(comparing.METHODS)
  assert rows[0]["more GFLOP"] == "+0.00%" and rows[0]["collectives"] == 1
  assert rows[2]["collectives"] == 2 and rows[2]["small"] == 2
  # Each slice is compared with its own program without clipping.
  assert rows[4]["HBM, GiB"] == "1.00" and rows[4]["more GFLOP"] == "+0.00%"


def test_methods_against_one_that_does_not_fit(config, monkeypatch):
  """No clipping does not fit, and micro-batches do."""

  class Both(Crowded):
    def compile(self, shape):
      self.most = self._parts if self._parts > 1 else 0
      return super().compile(shape)

  monkeypatch.setattr(job, "make_planner", Both)
  none, *_, parts = comparing.methods(config, ["v5e:2x2"], SETTINGS)
  assert none["HBM, GiB"] == "over 32.00" and none["GFLOP"] == "-"
  unknown = ("more GFLOP", "more GB", "GB moved", "collectives", "small")
  assert all(none[name] == "-" for name in unknown)
  assert none["MB all-reduced"] == "-"
  assert parts["HBM, GiB"] == "2.00" and parts["collectives"] == 2
  assert parts["more GFLOP"] == parts["more GB"] == "-"


def test_what_does_not_fit_has_no_difference(config, monkeypatch):
  monkeypatch.setattr(job, "make_planner", Crowded)
  rows = [
    *comparing.cores(config, SETTINGS),
    *comparing.parameters(config, 5e6, SETTINGS),
  ]
  for row in rows:
    assert row["GFLOP more"] == row["GB more"] == "-"
    assert row["collectives more"] == row["bytes all-reduced more"] == "-"
    assert row["GFLOP by formula"] != "-"
  (row,) = comparing.sizes(config, ["v4:2x2x1"], ["S"], SETTINGS)
  assert row["HBM, GiB"] == "over 32.00" and row["fits"] == "no"
  assert row["largest"] == "-" and row["ms, estimate"] == "-"


def test_sizes(config):
  rows = comparing.sizes(config, ["v4:2x2x1"], ["S", "M"], SETTINGS)
  assert [r["size"] for r in rows] == ["S", "M"]
  assert rows[0]["available"] == "15.25" and rows[0]["fits"] == "yes"


def test_sizes_on_a_line(config):
  config.model.fields = {}
  # Two utterances a core; 16 and 17 blocks.
  rows = comparing.sizes(config, ["v5e:2x2"], ["S", "L"], SETTINGS, (2, 4))
  one, other = comparing.methods(
    config, ["v5e:2x2"], SETTINGS, ["PCC", "APCC"], (2, 4)
  )
  assert [r["HBM, GiB"] for r in rows] == ["17.00", "18.00"]
  assert [r["fits"] for r in rows] == ["no", "no"]
  assert [r["largest"] for r in rows] == [1, 1]
  assert (one["method"], other["more GFLOP"]) == ("PCC", "+0.00%")


def test_cores_agree_with_the_formula(config):
  rows = comparing.cores(config, SETTINGS)
  assert [r["cores"] for r in rows] == [4, 8, 16, 32, 64, 128, 256]
  for row in rows:
    assert row["bytes all-reduced more"] == row["bytes by formula"]
    assert row["GFLOP more"] == row["GFLOP by formula"]


def test_large_models_by_formula(config):
  rows = comparing.parameters(config, 5e6, SETTINGS)
  assert [r["GFLOP more"] == "-" for r in rows] == [False] * 2 + [True] * 4
  assert rows[-1]["parameters"] == "about 988M"


def test_the_formula_counts_the_matrices():
  """What is no matrix of width x width is the smaller the wider the model."""

  def others(width):
    encoder = {"dim": width, "blocks": 4, "heads": 4}
    fields = {"size": "tiny", "encoder": encoder}
    model = registry.build_model("conformer_ctc", fields, 32)
    return model.count_params() / (comparing._MATRICES * width**2) - 1

  assert 0 < others(128) < others(64) / 1.9 < 0.15

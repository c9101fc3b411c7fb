"""The comparisons: what is asked for, who is missing, and the twin's weights.

What needs a peer skips before `python -m launch.benchmark peers --setup`.
"""

import importlib.util
import json
import sys

import numpy as np
import pytest

from launch.benchmark import peers_cost
from launch.benchmark.peers import conformers, losses, packages, turns


@pytest.fixture
def peer(monkeypatch):
  """Imports a peer, or skips."""
  monkeypatch.setattr(sys, "path", list(sys.path))
  packages.use()

  def require(name):
    try:
      return packages.require(name)
    except packages.Missing as error:
      pytest.skip(str(error))

  yield require
  packages.require.cache_clear()


def test_chosen():
  assert peers_cost.chosen(None) == peers_cost.COMPARISONS
  found = peers_cost.chosen(["fbank", "ctc_desk", "fbank"])
  assert list(found) == ["fbank", "ctc_desk"]
  for names in (["fbank", "gpu"], []):
    with pytest.raises(ValueError, match="--rows must be some of conformer_S"):
      peers_cost.chosen(names)


def test_a_peer_that_is_missing_or_differs_has_a_row():
  called = []

  def side(value):
    return turns.Side(lambda: called.append(value), outputs=[np.array(value)])

  def missing(**_):
    raise packages.Missing("torch cannot be imported")

  comparison = peers_cost.Comparison(
    "adding",
    lambda value: side(value),
    {
      "absent": missing,
      "right": lambda value: side(value + 1e-4),
      "wrong": lambda value: side(value + 1),
    },
    {"value": 2.0},
    1e-3,
  )
  rows = {r["peer"]: r for r in peers_cost.compare("add", comparison, 3)}
  assert rows["absent"]["missing"] == "torch cannot be imported"
  assert "difference of 0.5" in rows["wrong"]["missing"]
  assert rows["right"]["difference"] == pytest.approx(5e-5)
  assert rows["right"]["ratio"] > 0 and "missing" not in rows["right"]
  assert 3.0 not in called


def test_nothing_is_timed_without_a_peer(run_program, tmp_path):
  """TensorFlowASR never is; the others are not in an empty home."""
  if any(map(importlib.util.find_spec, ("torch", "lhotse"))):
    pytest.skip("they are installed in the ordinary way")
  path = tmp_path / "peers.json"
  done = run_program(
    *("benchmark", "peers", "--rows=conformer_tiny,fbank", f"--json={path}"),
    environment={"HOME": str(tmp_path)},
  )
  assert done.code == 0, done.stderr
  assert done.stdout.count(" not compared: ") == 4
  rows = json.loads(path.read_text())["rows"]
  assert [row["name"] for row in rows] == ["conformer_tiny"] * 3 + ["fbank"]
  assert all("ratio" not in row for row in rows)
  remedy = "python -m launch.benchmark peers --setup"
  assert sum(remedy in row["missing"] for row in rows) == 3


@pytest.mark.parametrize(
  "size", ["tiny", pytest.param("S", marks=pytest.mark.slow)]
)
def test_the_twin_computes_the_same(peer, size):
  peer("torchaudio")
  settings = {"size": size, "utterances": 2, "seconds": 2.0}
  ours, twin = conformers.ours(**settings), conformers.twin(**settings)
  assert turns.difference(ours, twin, conformers.TOLERANCE) < 1e-4
  # It can tell: another dropped bias, another utterance.
  other = [ours.outputs[0][::-1], ours.outputs[1]]
  with pytest.raises(turns.Different):
    turns.difference(
      turns.Side(ours.run, outputs=other), twin, conformers.TOLERANCE
    )
  assert np.isfinite(twin.run())


@pytest.mark.parametrize(
  ("kind", "make", "needs"),
  [
    ("ctc", losses.torchs, "torch"),
    ("ctc", losses.optaxs, "optax"),
    ("transducer", losses.torchs, "torchaudio"),
  ],
)
def test_losses_are_the_same(peer, kind, make, needs):
  peer(needs)
  sizes = {"batch": 2, "frames": 9, "labels": 3, "vocab": 5}
  found = turns.difference(
    losses.ours(kind, **sizes), make(kind, **sizes), 1e-5
  )
  assert found < 1e-5

"""launch.benchmark attention: equal losses, and one small run."""

import json
import types

import numpy as np
import pytest

from launch.benchmark import attention_cost

_FIELDS = {
  "encoder": {"dim": 8, "blocks": 2, "heads": 2, "kernel": 3},
  "features": {"mels": 8},
}


@pytest.fixture(scope="module")
def small_run():
  """Figures of three rounds, the models, their losses, who took the formula.

  Tracing the two models takes nearly all the time, so it is done once.
  """
  found = types.SimpleNamespace(models=[], losses=[], calls=[])
  formula, make_step = attention_cost.by_formula, attention_cost.make_step

  def remember(layer, *inputs):
    found.calls.append(layer)
    return formula(layer, *inputs)

  def recording(model, *arguments):
    step, losses = make_step(model, *arguments), []
    found.models.append(model)
    found.losses.append(losses)

    def run():
      losses.append(step())
      return losses[-1]

    return run

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(attention_cost, "by_formula", remember)
    patch.setattr(attention_cost, "make_step", recording)
    found.figures = attention_cost.measure(_FIELDS, 2, 1.0, rounds=3)
  return found


def test_both_attentions_train_alike(small_run):
  """Four steps: the gradients are the same too, not just the first loss."""
  losses = dict(zip(small_run.figures, small_run.losses, strict=True))
  np.testing.assert_allclose(losses["layer"], losses["formula"], rtol=1e-5)
  assert len(set(losses["layer"])) == 4


def test_the_formula_is_not_the_layer(small_run):
  """Else the ratio would compare the layer with itself."""
  models = dict(zip(small_run.figures, small_run.models, strict=True))
  assert models["layer"] is not models["formula"]
  blocks = models["formula"].encoder.blocks
  assert len(small_run.calls) == 2
  for call, block in zip(small_run.calls, blocks, strict=True):
    assert call is block.attention


def test_a_small_run(small_run):
  figures = small_run.figures
  row = figures["layer"]
  low, high = row["quartiles"]
  assert 0 < low <= row["ratio"] <= high
  assert figures["formula"]["median_cpu_seconds"] > 0
  for row, losses in zip(figures.values(), small_run.losses, strict=True):
    assert row["loss"] == losses[0]
  json.dumps(figures)

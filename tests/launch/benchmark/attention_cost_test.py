"""launch.benchmark attention: equal losses, and one small run."""

import json

import numpy as np

from launch.benchmark import attention_cost

_FIELDS = {
  "encoder": {"dim": 8, "blocks": 2, "heads": 2, "kernel": 3},
  "features": {"mels": 8},
}


def test_both_attentions_train_alike():
  """Three steps: the gradients are the same too, not just the first loss."""
  losses = {}
  for name, model in attention_cost.make_models(_FIELDS).items():
    step = attention_cost.make_step(model, utterances=2, seconds=1.0)
    losses[name] = [step() for _ in range(3)]
  np.testing.assert_allclose(losses["layer"], losses["formula"], rtol=1e-5)
  assert len(set(losses["layer"])) == 3


def test_the_formula_is_not_the_layer(monkeypatch):
  """Else the ratio would compare the layer with itself."""
  calls = []
  formula = attention_cost.by_formula

  def remember(layer, *inputs):
    calls.append(layer)
    return formula(layer, *inputs)

  monkeypatch.setattr(attention_cost, "by_formula", remember)
  models = attention_cost.make_models(_FIELDS)
  attention_cost.make_step(models["layer"], utterances=1, seconds=1.0)()
  assert not calls
  attention_cost.make_step(models["formula"], utterances=1, seconds=1.0)()
  assert len(calls) == 2


def test_a_small_run():
  figures = attention_cost.measure(_FIELDS, 2, 1.0, rounds=3)
  row = figures["layer"]
  low, high = row["quartiles"]
  assert 0 < low <= row["ratio"] <= high
  assert figures["formula"]["median_cpu_seconds"] > 0
  json.dumps(figures)

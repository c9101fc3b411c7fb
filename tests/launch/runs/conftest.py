"""Runs with checkpoints."""

import numpy as np
import pytest

from launch.runs import checkpoints, opening


@pytest.fixture
def saved(saved_run, tmp_path):
  """A model, its checkpoints of steps 1 and 2, and their directory."""
  model, *_ = opening.load_model(str(saved_run))
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  directory = tmp_path / "run"
  saver = checkpoints.Checkpoints(str(directory), model)
  for step in (1, 2):
    model.head.bias.assign(np.full(4, float(step)))
    saver.save(step)
  model.head.bias.assign(np.zeros(4))
  return model, directory

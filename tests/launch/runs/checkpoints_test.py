"""Checkpoints are found by what is in the folder, or missed aloud."""

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


def _lose_state(folder):
  (folder / "checkpoint").unlink()


def _cut_state(folder):
  (folder / "checkpoint").write_text("model_check")


def _name_what_is_gone(folder):
  (folder / "checkpoint").write_text(
    'model_checkpoint_path: "ckpt-9"\nall_model_checkpoint_paths: "ckpt-9"\n'
  )


def _lose_index(folder):
  (folder / "ckpt-2.index").unlink()


def _lose_data(folder):
  (folder / "ckpt-2.data-00000-of-00001").unlink()


@pytest.mark.parametrize(
  "damage, step",
  [
    (lambda folder: None, 2),
    (_lose_state, 2),
    (_cut_state, 2),
    (_name_what_is_gone, 2),
    (_lose_index, 1),
    (_lose_data, 1),
  ],
)
def test_resumes_from_the_newest_complete_checkpoint(saved, damage, step):
  model, directory = saved
  damage(directory / "checkpoints")
  saver = checkpoints.Checkpoints(str(directory), model)
  assert saver.restore() == step
  np.testing.assert_array_equal(model.head.bias.numpy(), np.full(4, step))
  saver.save(3)
  assert checkpoints.checkpoint_paths(str(directory))[-1][0] == 3


def test_a_run_whose_checkpoints_are_gone_is_not_started_again(saved):
  model, directory = saved
  for path in (directory / "checkpoints").glob("ckpt-*.index"):
    path.unlink()
  saver = checkpoints.Checkpoints(str(directory), model)
  with pytest.raises(ValueError, match=r"files are gone.*another --workdir"):
    saver.restore()
  # Nothing was taken away.
  assert len(list((directory / "checkpoints").glob("*.data-*"))) == 2


def test_a_first_save_that_was_interrupted_starts_again(saved_run, tmp_path):
  """Data files are written before the index, the state file after it."""
  model, *_ = opening.load_model(str(saved_run))
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  folder = tmp_path / "checkpoints"
  (folder / "ckpt-5_temp").mkdir(parents=True)
  (folder / "ckpt-5.data-00000-of-00001").write_text("")
  assert checkpoints.Checkpoints(str(tmp_path), model).restore() == 0


@pytest.mark.parametrize("name", ["lr[1e-3]", "a\\b", "all*", "why?"])
def test_a_name_that_tensorflow_takes_for_a_pattern(
  make_config, train_cores, tmp_path, name
):
  with pytest.raises(ValueError, match="must have no.*rename the directory"):
    train_cores(make_config(), tmp_path / name)
  assert not (tmp_path / name).exists()
  with pytest.raises(ValueError, match="must have no.*rename the directory"):
    opening.load_model(str(tmp_path / name))

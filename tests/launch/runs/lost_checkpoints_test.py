"""Runs whose checkpoints are gone: told by what else is there."""

import shutil

import pytest

from launch.runs import metrics, opening, saved_config
from tests.launch.runs.saved_runs import data_of, go_on
from tf_pcc import files


def _lose_folder(directory):
  shutil.rmtree(directory / "checkpoints")


def _lose_content(directory):
  _lose_folder(directory)
  (directory / "checkpoints").mkdir()


def _lose_indices(directory):
  for path in (directory / "checkpoints").glob("*.index"):
    path.unlink()
  (directory / "checkpoints" / "checkpoint").unlink()


def _lose_data(directory):
  for path in (directory / "checkpoints").glob("*.data-*"):
    path.unlink()
  (directory / "checkpoints" / "checkpoint").unlink()


def _set_all_aside(directory):
  folder = directory / "checkpoints"
  for path in folder.glob("ckpt-*"):
    path.rename(folder / f"damaged-{path.name}")
  (folder / "checkpoint").unlink()


LOSSES = (
  _lose_folder,
  _lose_content,
  _lose_indices,
  _lose_data,
  _set_all_aside,
)


@pytest.mark.parametrize("sign", ["summary.json", "metrics.jsonl", "no config"])
@pytest.mark.parametrize("lose", LOSSES)
def test_a_run_whose_checkpoints_are_gone_is_not_started_again(
  saved, make_config, lose, sign
):
  """Neither in silence nor over what it has left."""
  model, directory = saved
  if sign == "summary.json":
    files.write_json(directory / sign, {"steps": 2})
  elif sign == "metrics.jsonl":
    saved_config.save_config(directory, make_config(checkpoint_every=1))
    metrics.Writer(directory).write({"step": 3, "loss": 0.5})
  else:
    metrics.Writer(directory).write({"step": 1, "loss": 0.5})
  lose(directory)
  before = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}
  with pytest.raises(ValueError, match="must hold a checkpoint.*from a copy"):
    go_on(model, directory)
  assert before == {
    p: p.read_bytes() for p in directory.rglob("*") if p.is_file()
  }


@pytest.mark.parametrize("lose", [_lose_indices, _lose_data, _set_all_aside])
def test_what_is_left_of_checkpoints_is_enough_of_a_sign(saved, lose):
  model, directory = saved
  lose(directory)
  with pytest.raises(ValueError, match="must hold a checkpoint.*from a copy"):
    go_on(model, directory)


@pytest.mark.parametrize("every", [0, 2, 100])
def test_a_run_killed_before_its_first_checkpoint_starts_again(
  saved_run, make_config, tmp_path, every
):
  """At step 4 the checkpoint of step 2 may still be on its way."""
  model, *_ = opening.load_model(str(saved_run))
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  saved_config.save_config(tmp_path, make_config(checkpoint_every=every))
  writer = metrics.Writer(tmp_path)
  for step in (1, 2, 3, 4):
    writer.write({"step": step, "loss": 0.5})
  folder = tmp_path / "checkpoints"
  folder.mkdir()
  data_of(folder, 2).write_text("half")
  # Set aside by one start, it is no sign for the next.
  for _ in range(2):
    assert go_on(model, tmp_path)[0] == 0
  assert (folder / f"damaged-{data_of(folder, 2).name}").exists()

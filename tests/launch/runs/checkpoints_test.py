"""Checkpoints are found by what is in the folder, or missed aloud."""

import contextlib
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from launch.runs import (
  checkpoint_files,
  checkpoints,
  cluster,
  experiment,
  opening,
  resuming,
)
from tests.launch.runs.saved_runs import data_of, go_on
from tf_pcc import files


def change(path, at):
  """Flips the bits of one byte; `at` is a share of the length."""
  content = bytearray(path.read_bytes())
  content[int(at * len(content))] ^= 0xFF
  path.write_bytes(content)


def cut(path, share):
  os.truncate(path, int(share * path.stat().st_size))


STATES = {
  "as it was": lambda state: None,
  "lost": lambda state: state.unlink(),
  "cut": lambda state: state.write_text("model_check"),
  "of what is gone": lambda state: state.write_text(
    'model_checkpoint_path: "ckpt-9"\nall_model_checkpoint_paths: "ckpt-9"\n'
  ),
}
# Of the checkpoint of step 2.
DAMAGES = {
  "index lost": lambda index, data: index.unlink(),
  "index empty": lambda index, data: index.write_bytes(b""),
  "index cut": lambda index, data: cut(index, 0.5),
  "index changed": lambda index, data: change(index, 0.3),
  "index not one": lambda index, data: index.write_text("<html>" * 99),
  "data lost": lambda index, data: data.unlink(),
  "data empty": lambda index, data: data.write_bytes(b""),
  "data cut by a byte": lambda index, data: os.truncate(
    data, data.stat().st_size - 1
  ),
  "first byte changed": lambda index, data: change(data, 0),
  "byte changed": lambda index, data: change(data, 0.5),
  "last byte changed": lambda index, data: change(data, 1 - 1e-9),
  "zeroes": lambda index, data: data.write_bytes(bytes(data.stat().st_size)),
}


@pytest.mark.parametrize("state", STATES)
def test_the_state_file_does_not_matter(saved, state):
  model, directory = saved
  STATES[state](directory / "checkpoints" / "checkpoint")
  step, saver = go_on(model, directory)
  assert step == 2
  np.testing.assert_array_equal(model.head.bias.numpy(), np.full(4, 2.0))
  saver.save(3)
  newest = tf.train.latest_checkpoint(str(directory / "checkpoints"))
  assert newest == str(directory / "checkpoints" / "ckpt-3")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_costs_one_checkpoint(saved, caplog, damage):
  """The one before is taken bit for bit, and the damaged files are kept."""
  model, directory = saved
  folder = directory / "checkpoints"
  before = tf.train.load_checkpoint(str(folder / "ckpt-1"))
  DAMAGES[damage](folder / "ckpt-2.index", data_of(folder, 2))
  damaged = {p.name: p.read_bytes() for p in folder.glob("ckpt-2.*")}
  step, saver = go_on(model, directory)
  assert step == 1
  weights = [v.value for v in model.weights]
  for i, weight in enumerate(weights):
    np.testing.assert_array_equal(
      weight.numpy(),
      before.get_tensor(f"weights/all/{i}/.ATTRIBUTES/VARIABLE_VALUE"),
    )
  (line,) = caplog.messages
  assert "goes on from step 1" in line and "ckpt-2: " in line
  assert "\n" not in line
  for name, content in damaged.items():
    assert (folder / f"damaged-{name}").read_bytes() == content
    assert not (folder / name).exists()
  newest = tf.train.latest_checkpoint(str(folder))
  assert newest == str(folder / "ckpt-1")
  # The step is saved again, and damaged again: nothing is written over.
  saver.save(2)
  assert checkpoints.checkpoint_paths(str(directory))[-1][0] == 2
  cut(data_of(folder, 2), 0.5)
  assert go_on(model, directory)[0] == 1
  for name, content in damaged.items():
    assert (folder / f"damaged-{name}").read_bytes() == content
  assert len(list(folder.glob("damaged-*"))) == len(damaged) + 2


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to(p.name)])
def test_what_is_no_file_is_not_waited_for(
  saved, saved_run, tmp_path, ending, make
):
  model, directory = saved
  path = directory / "checkpoints" / f"ckpt-2.{ending}"
  path.unlink()
  make(path)
  assert go_on(model, directory)[0] == 1
  assert os.path.lexists(path.with_name(f"damaged-{path.name}"))
  run = shutil.copytree(saved_run, tmp_path / "copy")
  path = run / "checkpoints" / f"ckpt-7.{ending}"
  path.unlink()
  make(path)
  with pytest.raises(ValueError, match=f"{path} (must be a reg|is a link)"):
    opening.load_model(str(run))


@pytest.mark.parametrize("name", ["ckpt-0009", "ckpt-99999999999999999999"])
def test_a_name_that_no_run_gives_is_no_checkpoint(saved, name):
  model, directory = saved
  folder = directory / "checkpoints"
  for path in list(folder.glob("ckpt-2.*")):
    shutil.copy(path, folder / path.name.replace("ckpt-2", name))
  assert go_on(model, directory)[0] == 2


def test_a_renamed_checkpoint_is_refused(saved):
  """It would go on with the data of another step."""
  model, directory = saved
  for path in list((directory / "checkpoints").glob("ckpt-2.*")):
    path.rename(path.with_name(path.name.replace("ckpt-2", "ckpt-9")))
  with pytest.raises(ValueError, match=r"ckpt-9\.\* .*to ckpt-2.*step=9"):
    go_on(model, directory)


def test_checkpoints_of_another_model_are_named(saved, make_config):
  model, directory = saved
  config = make_config()
  config.model.fields["encoder"]["dim"] = 24
  other = experiment.make_model(config, 4)
  other.compile(optimizer="sgd")
  other.optimizer.build(other.trainable_variables)
  with pytest.raises(ValueError, match=r"/ckpt-2\.\* must be .*of the model"):
    go_on(other, directory)
  path = dict(checkpoints.checkpoint_paths(str(directory)))[1]
  with pytest.raises(ValueError, match=r"/ckpt-1\.\* must be .*of the model"):
    checkpoints.restore_weights(other, path)


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/checkpoint"])
def test_a_file_for_a_folder_is_found_before_the_first_step(tmp_path, name):
  path = tmp_path / name
  path.parent.mkdir(exist_ok=True)
  if name == "checkpoints":
    path.write_text("")
  else:
    path.mkdir()
  with pytest.raises(ValueError, match=rf"{path} must be a (file|folder)"):
    resuming.saved_step(str(tmp_path), cluster.logical_cores(1))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_without_a_good_checkpoint_is_not_started_again(saved, damage):
  model, directory = saved
  folder = directory / "checkpoints"
  for step in (1, 2):
    DAMAGES[damage](folder / f"ckpt-{step}.index", data_of(folder, step))
  left = {p.name: p.read_bytes() for p in folder.iterdir()}
  for _ in range(2):
    with pytest.raises(ValueError, match="ckpt-2: .*") as error:
      go_on(model, directory)
    assert "from a copy, or start again in another --workdir" in str(
      error.value
    )
    # Nothing was moved or taken away.
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == left


def test_nobody_may_read_is_no_damage(saved, monkeypatch):
  """A bucket that does not answer must not cost a checkpoint."""
  model, directory = saved

  def unavailable(*_):
    raise tf.errors.UnavailableError(None, None, "try later")

  monkeypatch.setattr(tf.io.gfile, "GFile", unavailable)
  with pytest.raises(tf.errors.UnavailableError):
    go_on(model, directory)
  assert not list((directory / "checkpoints").glob("damaged-*"))


# The first byte is the optimizer's, which nobody reads here.
@pytest.mark.parametrize("damage", sorted({*DAMAGES} - {"first byte changed"}))
def test_a_damaged_checkpoint_is_not_transcribed_with(
  saved, saved_run, tmp_path, damage
):
  run = shutil.copytree(saved_run, tmp_path / "copy")
  folder = run / "checkpoints"
  DAMAGES[damage](folder / "ckpt-7.index", data_of(folder, 7))
  with pytest.raises(ValueError, match="earlier one by --step|train first"):
    opening.load_model(str(run))


def test_what_a_killed_process_left_is_swept(saved):
  model, directory = saved
  folder = directory / "checkpoints"
  left = [
    folder / ".writing-ab12-checkpoint",
    folder / "checkpoint.tmp0a1b",
    directory / ".writing-x_1-config.json",
    directory / "summary.json.tmp123",
  ]
  for path in left:
    path.write_text("half")
  (folder / "ckpt-3_temp").mkdir()
  (folder / "ckpt-3_temp" / "part-00000-of-00001.index").write_text("half")
  kept = [
    directory / ".writing-ab12-mine.json",
    directory / "config.json.tmp",
    folder / "ckpt-3_temp_notes",
  ]
  for path in kept:
    path.write_text("mine")
  assert go_on(model, directory)[0] == 2
  assert not any(path.exists() for path in left)
  assert not (folder / "ckpt-3_temp").exists()
  assert all(path.read_text() == "mine" for path in kept)


@pytest.mark.parametrize("remote", [False, True])
def test_what_a_killed_writer_left_is_swept(tmp_path, remote):
  """Whatever name the writer gives to what is not whole yet."""
  folder = "ram://swept" if remote else str(tmp_path)
  with contextlib.suppress(Exception), files.replacing(f"{folder}/a") as new:
    files.make_folder(folder)
    files.append_text(new, "half")
    raise RuntimeError
  # As if the writer had not come to remove it.
  files.append_text(new, "half")
  checkpoint_files.sweep(folder, ["a"])
  assert not tf.io.gfile.exists(new)


def test_a_first_save_that_was_interrupted_starts_again(saved_run, tmp_path):
  """Data files are written before the index, the state file after it."""
  model, *_ = opening.load_model(str(saved_run))
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  folder = tmp_path / "checkpoints"
  (folder / "ckpt-5_temp").mkdir(parents=True)
  data_of(folder, 5).write_text("half")
  step, saver = go_on(model, tmp_path)
  assert step == 0
  saver.save(5)
  assert go_on(model, tmp_path)[0] == 5


def test_the_older_checkpoint_goes_when_the_newer_one_is_safe(
  saved, monkeypatch
):
  """Written, synced, read back, named; only then is anything removed."""
  model, directory = saved
  folder = directory / "checkpoints"
  events = []

  def note(name, real):
    def noted(path, *rest):
      events.append((name, os.path.basename(str(path))))
      return real(path, *rest)

    return noted

  for owner, name in (
    (files, "sync"),
    (os, "replace"),
    (tf.compat.v1.train, "NewCheckpointReader"),
    (tf.io.gfile, "remove"),
  ):
    monkeypatch.setattr(owner, name, note(name, getattr(owner, name)))
  saver = checkpoints.Checkpoints(str(directory), model, keep=1)
  saver.save(3)
  named = events.index(("NewCheckpointReader", "ckpt-3")) + 2
  assert events[:named] == [
    *((do, data_of(folder, 3).name) for do in ("sync", "replace")),
    *((do, "ckpt-3.index") for do in ("sync", "replace")),
    ("sync", "checkpoints"),
    ("NewCheckpointReader", "ckpt-3"),
    # The state file's own content.
    ("sync", events[named][1]),
  ]
  assert events[named][0] == "replace"
  removed = [name for event, name in events[named:] if event == "remove"]
  assert removed == [
    *("ckpt-1.index", "ckpt-1.data-00000-of-00001"),
    *("ckpt-2.index", "ckpt-2.data-00000-of-00001"),
  ]
  assert {p.name for p in folder.iterdir()} == {
    *("checkpoint", "ckpt-3.index", "ckpt-3.data-00000-of-00001")
  }


def test_what_cannot_be_read_back_costs_nothing(saved, monkeypatch):
  model, directory = saved
  folder = directory / "checkpoints"

  def full(path):
    if str(path).endswith("ckpt-3.index"):
      cut(pathlib.Path(path), 0.5)

  monkeypatch.setattr(files, "sync", full)
  saver = checkpoints.Checkpoints(str(directory), model, keep=1)
  with pytest.raises(OSError, match="full or failing; make room"):
    saver.save(3)
  monkeypatch.undo()
  assert {p.name for p in folder.glob("ckpt-*.index")} == {
    f"ckpt-{step}.index" for step in (1, 2, 3)
  }
  assert "ckpt-2" in (folder / "checkpoint").read_text()
  assert go_on(model, directory)[0] == 2


def test_a_kill_between_saving_and_removing_leaves_none_too_many(saved):
  """Also after the last step, when nothing is saved any more."""
  model, directory = saved
  saver = checkpoints.Checkpoints(str(directory), model, keep=1)
  saver.restore(2)
  folder = directory / "checkpoints"
  assert {path.name for path in folder.iterdir()} == {
    *("checkpoint", "ckpt-2.index", "ckpt-2.data-00000-of-00001")
  }
  state = tf.train.get_checkpoint_state(str(folder))
  assert list(state.all_model_checkpoint_paths) == [str(folder / "ckpt-2")]


def test_checkpoints_of_the_checkpoint_manager_go_on(saved, tmp_path):
  """Runs that were begun before this class wrote the files itself."""
  model, _ = saved
  saver = checkpoints.Checkpoints(str(tmp_path), model)
  manager = tf.train.CheckpointManager(
    saver._checkpoint, str(tmp_path / "checkpoints"), max_to_keep=2
  )
  for step in (4, 5, 6):
    model.head.bias.assign(np.full(4, float(step)))
    saver.step.assign(step)
    manager.save(checkpoint_number=step)
  model.head.bias.assign(np.zeros(4))
  step, saver = go_on(model, tmp_path)
  assert step == 6
  np.testing.assert_array_equal(model.head.bias.numpy(), np.full(4, 6.0))
  saver.save(7)
  state = tf.train.get_checkpoint_state(str(tmp_path / "checkpoints"))
  assert [
    os.path.basename(path) for path in state.all_model_checkpoint_paths
  ] == [*("ckpt-5", "ckpt-6", "ckpt-7")]


@pytest.mark.parametrize("name", ["lr[1e-3]", "a\\b", "all*", "why?"])
def test_a_name_that_tensorflow_takes_for_a_pattern(
  make_config, train_cores, tmp_path, name
):
  with pytest.raises(ValueError, match="must have no.*rename the directory"):
    train_cores(make_config(), tmp_path / name)
  assert not (tmp_path / name).exists()
  with pytest.raises(ValueError, match="must have no.*rename the directory"):
    opening.load_model(str(tmp_path / name))

"""A checkpoint is copied to its place while training goes on."""

import contextlib
import os
import subprocess
import tempfile
import threading

import numpy as np
import pytest

from launch.runs import (
  checkpoint_files,
  checkpoints,
  cluster,
  resuming,
  staging,
)


class Gate:
  """Makes publishing wait until it is opened."""

  def __init__(self, monkeypatch):
    self.reached, self.opened = threading.Event(), threading.Event()
    publish = staging.publish

    def wait(*arguments):
      self.reached.set()
      assert self.opened.wait(60)
      publish(*arguments)

    monkeypatch.setattr(staging, "publish", wait)


@pytest.fixture
def gate(monkeypatch):
  gate = Gate(monkeypatch)
  yield gate
  gate.opened.set()


def steps_of(directory):
  return [step for step, _ in checkpoints.checkpoint_paths(str(directory))]


def test_training_goes_on_while_a_checkpoint_is_copied(saved, gate):
  model, directory = saved
  saver = checkpoints.Checkpoints(str(directory), model)
  model.head.bias.assign(np.full(4, 3.0))
  saver.save(3, wait=False)
  assert gate.reached.wait(60)
  # The next steps change the weights; they are not in the checkpoint.
  model.head.bias.assign(np.full(4, 9.0))
  assert steps_of(directory) == [1, 2]
  # Whoever starts now, after a kill, goes on from the one before.
  assert "ckpt-2" in (directory / "checkpoints" / "checkpoint").read_text()
  gate.opened.set()
  saver.wait()
  assert steps_of(directory) == [1, 2, 3]
  assert resuming.saved_step(str(directory), cluster.logical_cores(1)) == 3
  checkpoints.Checkpoints(str(directory), model).restore(3)
  np.testing.assert_array_equal(model.head.bias.numpy(), np.full(4, 3.0))


def test_one_checkpoint_is_copied_at_a_time(saved, gate):
  model, directory = saved
  saver = checkpoints.Checkpoints(str(directory), model)
  saver.save(3, wait=False)
  assert gate.reached.wait(60)
  threading.Timer(0.2, gate.opened.set).start()
  saver.save(4, wait=False)
  assert 3 in steps_of(directory)
  saver.save(4)
  assert steps_of(directory) == [1, 2, 3, 4]


def test_an_error_of_the_thread_is_raised_by_the_next_call(saved, monkeypatch):
  model, directory = saved
  saver = checkpoints.Checkpoints(str(directory), model)
  with monkeypatch.context() as patch:

    def full(*_):
      raise OSError("No space left on device")

    patch.setattr(os, "replace", full)
    saver.save(3, wait=False)
    with pytest.raises(OSError, match="No space left"):
      saver.save(4, wait=False)
  assert steps_of(directory) == [1, 2]
  assert not list((directory / "checkpoints").glob("*_temp"))
  # There is room again.
  saver.save(3)
  assert steps_of(directory) == [1, 2, 3]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_a_program_that_ends_waits_unless_it_was_interrupted(
  saved, gate, error
):
  model, directory = saved
  if error is not KeyboardInterrupt:
    threading.Timer(0.2, gate.opened.set).start()
  raises = pytest.raises(error) if error else contextlib.nullcontext()
  with raises, checkpoints.Checkpoints(str(directory), model) as saver:
    saver.save(3, wait=False)
    assert gate.reached.wait(60)
    if error:
      raise error
  expected = [1, 2] if error is KeyboardInterrupt else [1, 2, 3]
  assert steps_of(directory) == expected
  gate.opened.set()
  saver.wait()


def test_the_first_error_is_told(saved, gate, monkeypatch, caplog):
  model, directory = saved

  def unreadable(*_):
    raise OSError("it cannot be read")

  monkeypatch.setattr(checkpoint_files, "require_index", unreadable)
  with (
    pytest.raises(FloatingPointError),
    checkpoints.Checkpoints(str(directory), model) as saver,
  ):
    gate.opened.set()
    saver.save(3, wait=False)
    raise FloatingPointError
  assert "the last checkpoint is not saved" in caplog.messages[-1]


def test_what_goes_to_a_bucket_is_staged_and_swept(
  saved, tmp_path, monkeypatch
):
  model, _ = saved
  temporary = tmp_path / "temporary"
  temporary.mkdir()
  monkeypatch.setattr(tempfile, "tempdir", str(temporary))
  ended = subprocess.Popen(["true"])
  ended.wait()
  left = temporary / f"tf_pcc-checkpoint-{ended.pid}-0a1b-x"
  # Of this process's number, but not of this process.
  earlier = temporary / f"tf_pcc-checkpoint-{os.getpid()}-0a1b-x"
  other = temporary / f"tf_pcc-checkpoint-{os.getppid()}-0a1b-x"
  foreign = temporary / "tf_pcc-checkpoint-notes"
  for folder in (left, earlier, other, foreign):
    folder.mkdir()
  saver = checkpoints.Checkpoints("ram://staged/run", model)
  model.head.bias.assign(np.full(4, 5.0))
  saver.save(5, wait=False)
  saver.wait()
  assert set(temporary.iterdir()) == {other, foreign}
  model.head.bias.assign(np.zeros(4))
  checkpoints.Checkpoints("ram://staged/run", model).restore(5)
  np.testing.assert_array_equal(model.head.bias.numpy(), np.full(4, 5.0))

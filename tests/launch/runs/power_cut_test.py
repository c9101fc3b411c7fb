"""A power cut at any moment costs no checkpoint that was complete."""

import os

import numpy as np
import pytest
import tensorflow as tf

from launch.runs import (
  checkpoints,
  cluster,
  metrics,
  opening,
  ownership,
  resuming,
  saved_config,
)
from tests import power_cut


@pytest.fixture
def disk(tmp_path, monkeypatch):
  """A simulated disk under tmp_path/root; a cut at every file operation."""
  root = tmp_path / "root"
  root.mkdir()
  disk = power_cut.Disk(root, tmp_path / "images")
  disk.root = root
  disk.install(
    monkeypatch,
    *((os, name) for name in ("replace", "unlink")),
    *((tf.io.gfile, name) for name in ("remove", "rename")),
    (tf.train.Checkpoint, "write"),
  )
  yield disk
  disk.close()


@pytest.mark.parametrize("keep", [1, 2])
def test_every_cut_resumes(saved_run, disk, monkeypatch, keep):
  """As launch.train writes: the config, a line, a checkpoint; four times."""
  model, tokenizer, config, _ = opening.load_model(str(saved_run))
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  directory = str(disk.root / "runs" / "one")
  # For each cut the steps that were saved for good and not yet removed.
  promised, latest = [], 0
  with ownership.hold(directory):
    saved_config.save_config(directory, config)
    opening.save_tokenizer(directory, tokenizer)
    promised += [(0, 0)] * (len(disk.cuts) - len(promised))
    saver = checkpoints.Checkpoints(directory, model, keep=keep)
    for step in (1, 2, 3, 4):
      writer = metrics.Writer(directory, step - 1)
      writer.write({"step": step, "loss": 1.0})
      model.head.bias.assign(np.full(4, float(step)))
      saver.save(step)
      promised += [(latest, step)] * (len(disk.cuts) - len(promised))
      latest = step
  promised += [(4, 4)] * (len(disk.cuts) - len(promised))
  monkeypatch.undo()

  assert len(disk.cuts) > 14 * 4
  # Step by the content of the disk: most cuts leave what another left.
  resumed = {}
  for image, (least, most) in zip(disk.cuts, promised, strict=True):
    run = str(image / "runs" / "one")
    content = power_cut.digest(image)
    known = content in resumed
    if not known:
      resumed[content] = resuming.saved_step(run, cluster.logical_cores(1))
    step = resumed[content]
    assert least <= step <= most, image
    if known:
      continue
    saver = checkpoints.Checkpoints(run, model, keep=keep)
    saver.restore(step)
    if not step:
      continue
    np.testing.assert_array_equal(model.head.bias.numpy(), np.full(4, step))
    assert saved_config.load_config(run) == config
    assert opening.load_tokenizer(run).get_config() == tokenizer.get_config()
    assert [line["step"] for line in metrics.read(run)][:step] == list(
      range(1, step + 1)
    )
    # It goes on, over whatever the cut has left.
    metrics.Writer(run, step)
    saver.save(step + 1)
    assert resuming.saved_step(run, cluster.logical_cores(1)) == step + 1
  assert set(resumed.values()) == {0, 1, 2, 3, 4}


def test_the_simulation_loses_what_was_not_synced(disk, monkeypatch):
  """So that the test above can fail."""
  path = disk.root / "x"
  path.write_text("never synced")
  disk.cut()
  monkeypatch.undo()
  strict, empty = disk.cuts
  assert list(strict.iterdir()) == []
  assert (empty / "x").read_bytes() == b""


def test_a_cut_before_the_first_checkpoint_keeps_init_from(
  make_config, train_cores, saved_run, tmp_path, monkeypatch
):
  """The encoder that a run starts from is read again by the next start."""

  def power_cut_at(*_):
    raise SystemExit

  config = make_config(steps=1, cores=1, init_from=str(saved_run))
  config.optimizer.learning_rate = 1e-30
  run = tmp_path / "run"
  with monkeypatch.context() as patch:
    patch.setattr(checkpoints.Checkpoints, "save", power_cut_at)
    with pytest.raises(SystemExit):
      train_cores(config, run, cores=1)
  assert (run / "config.json").exists()
  assert checkpoints.checkpoint_paths(run) == []
  train_cores(config, run, cores=1)
  found, *_ = opening.load_model(str(run))
  source, *_ = opening.load_model(str(saved_run))
  for ours, theirs in zip(
    found.encoder.weights, source.encoder.weights, strict=True
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-20)

"""The step a run goes on from: that of its newest good checkpoint."""

import math
import os

import tensorflow as tf
from absl import logging

from launch.runs import (
  checkpoint_files,
  checkpoints,
  cluster,
  metrics,
  ownership,
  saved_config,
)
from tf_pcc import files

_RUN_FILES = (
  "config.json",
  "tokenizer.json",
  "metrics.jsonl",
  "summary.json",
  ownership.RECORD,
)
# Answers of `cluster.gather` below any step.
_NONE_GOOD, _NOT_ASKED = -1, -2


def saved_step(
  directory: str | os.PathLike, strategy: tf.distribute.Strategy
) -> int:
  """Finds the newest checkpoint that can be read; the chief tidies up.

  Damaged checkpoints that are newer are moved aside, with a warning, and so
  are incomplete ones; what a killed process was writing is removed. All
  workers must call it at the same point.

  Args:
    directory: the run's directory; it may be missing.
    strategy: tf.distribute strategy.

  Returns:
    int, the step, 0 if the run is at its beginning; the same on all workers.

  Raises:
    ValueError: If there are checkpoints and none is good, if they are gone and
      other files tell that a run was saved, if their folder is a file, or the
      workers do not see the same ones.
  """
  folder = files.join(directory, "checkpoints")
  checkpoint_files.require_types(folder)
  found, _ = checkpoint_files.steps(folder)
  newest = max(found, default=0)
  if len(set(cluster.gather(strategy, newest))) > 1:
    raise ValueError(
      "--workdir must be one directory that all workers share: they found "
      f"checkpoints of different steps. Received: workdir={directory}, "
      f"step={newest}"
    )
  # One reads them all: what it says is what all do.
  chief = cluster.is_chief(strategy)
  good, damage = _NOT_ASKED, {}
  if chief:
    good, damage = _newest_good(directory, folder)
  good = max(cluster.gather(strategy, good))
  if good == _NONE_GOOD:
    raise ValueError(
      f"{folder} must hold a checkpoint, ckpt-STEP.index with its data files, "
      "that can be read: a run was saved there and its files are damaged or "
      "gone. Restore them from a copy, or start again in another --workdir. "
      f"Received: {'; '.join(damage.values())}"
    )
  if chief:
    _tidy(directory, folder, good, damage)
  return good


def _newest_good(directory, folder):
  """The step, and what is wrong with newer ones: a dict from step to str."""
  complete, partial = checkpoint_files.steps(folder)
  damage, good = {}, 0
  for step in reversed(complete):
    reason = checkpoint_files.complaint(folder, step)
    if reason is None:
      good = step
      break
    damage[step] = reason
  for step in partial:
    if step > good:
      damage[step] = f"ckpt-{step}: files are gone"
  if not good:
    saved = _sign_of_saving(directory, folder)
    if complete or saved:
      return _NONE_GOOD, {**damage, None: saved or "no good checkpoint"}
  return good, damage


def _sign_of_saving(directory, folder):
  """What tells that a checkpoint was written once; "" if nothing does.

  A run that was killed before that has metrics, and may have data files of the
  one checkpoint that was being written: it starts again.
  """
  there = checkpoint_files.names(folder)
  if checkpoint_files.STATE in there:
    return f"{files.join(folder, checkpoint_files.STATE)} is there"
  # The index is written last, and removed first.
  indices = sorted(n for n in there if checkpoint_files.is_index(n))
  if indices:
    return f"{files.join(folder, indices[0])} is there"
  if len(checkpoint_files.steps(folder)[1]) > 1:
    return "data files of several checkpoints are there"
  summary = files.join(directory, "summary.json")
  if tf.io.gfile.exists(summary):
    return f"{summary} is that of a run at its end"
  path = files.join(directory, "metrics.jsonl")
  lines = metrics.read(directory) if tf.io.gfile.exists(path) else []
  last = max((line["step"] for line in lines), default=0)
  if last > _surely_saved(directory):
    return f"{path} goes to step {last}"
  return ""


def _surely_saved(directory):
  """The step after which the first checkpoint is on the disk."""
  if not tf.io.gfile.exists(files.join(directory, "config.json")):
    # It is there before the first line of metrics is.
    return 0
  every = saved_config.load_config(directory).checkpoint_every
  # The second waits for the first. Without any, the run's end has one.
  return 2 * every or math.inf


def _tidy(directory, folder, good, damage):
  checkpoint_files.sweep(folder, [checkpoint_files.STATE])
  checkpoint_files.sweep(directory, _RUN_FILES)
  if not damage:
    return
  for step in damage:
    checkpoint_files.set_aside(folder, step)
  if good:
    steps = [step for step, _ in checkpoints.checkpoint_paths(directory)]
    checkpoint_files.write_state(folder, steps)
  logging.warning(
    "training goes on from step %d: what was saved after it is damaged and "
    "was moved to %s (%s)",
    good,
    files.join(folder, "damaged-ckpt-*"),
    "; ".join(damage.values()),
  )

"""The step a run goes on from: that of its newest good checkpoint."""

import os

import tensorflow as tf
from absl import logging

from launch.runs import checkpoint_files, checkpoints, cluster, ownership
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
    ValueError: If there are checkpoints and none is good, if they are gone, if
      their folder is a file, or the workers do not see the same ones.
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
  good, damage = _newest_good(folder) if chief else (_NOT_ASKED, {})
  good = max(cluster.gather(strategy, good))
  if good == _NONE_GOOD:
    raise ValueError(
      f"{folder} must hold a checkpoint, ckpt-STEP.index with its data files, "
      "that can be read: a run was saved there and its files are damaged or "
      "gone. Restore them from a copy, or start again in another --workdir. "
      f"Received: {_described(damage)}"
    )
  if chief:
    _tidy(directory, folder, good, damage)
  return good


def _newest_good(folder):
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
  # The state file is written after the first checkpoint. Before it, there may
  # be parts of one that was being written.
  begun = checkpoint_files.STATE in checkpoint_files.names(folder)
  if not good and (complete or begun):
    return _NONE_GOOD, damage
  return good, damage


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
    _described(damage),
  )


def _described(damage):
  return "; ".join(damage.values()) or "no checkpoint"

"""The checkpoints of a run: saved, found, restored."""

import os
import re
import tempfile

import tensorflow as tf

from tf_pcc import files


class Checkpoints:
  """The checkpoints of a run: model, optimizer, the clipping's state, step.

  Every worker calls the same methods at the same steps, because saving adds up
  what the workers' metrics count. Only the chief's files stay.

  Args:
    directory: the run's directory.
    model: compiled model, its optimizer built.
    keep: number of newest checkpoints to keep, 0 for all.
    chief: bool, whether this process is the one that writes.
  """

  def __init__(self, directory, model, keep=0, chief=True):
    self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
    self._checkpoint = tf.train.Checkpoint(
      model=model,
      weights=_weights(model),
      noise_and_metrics=_noise_and_metrics(model),
      optimizer=model.optimizer,
      step=self.step,
    )
    self._directory = files.join(directory, "checkpoints")
    self._saved = None
    self._manager = chief and tf.train.CheckpointManager(
      self._checkpoint, self._directory, max_to_keep=keep or None
    )

  def restore(self):
    """Takes the newest checkpoint, if there is one.

    Returns:
      The step it was made at, 0 if there is none.

    Raises:
      ValueError: If there was one, see `require_resumable`.
    """
    run = os.path.dirname(self._directory)
    require_resumable(run)
    paths = checkpoint_paths(run)
    if not paths:
      return 0
    _, path = paths[-1]
    status = self._checkpoint.restore(path)
    status.assert_existing_objects_matched()
    self._saved = int(self.step.numpy())
    return self._saved

  def save(self, step):
    """Writes a checkpoint of this step, unless it is there already."""
    if self._saved == step:
      return
    self.step.assign(step)
    if self._manager:
      self._manager.save(checkpoint_number=step)
    else:
      with tempfile.TemporaryDirectory() as unused:
        self._checkpoint.write(os.path.join(unused, "checkpoint"))
    self._saved = step


def checkpoint_paths(directory):
  """All complete checkpoints of a run, oldest first.

  They are found by listing the folder: TensorFlow's state file, `checkpoint`,
  may be lost or name what is gone.

  Args:
    directory: the run's directory.

  Returns:
    list of (step, path): those with an index and all of their data files. The
    index is written last.
  """
  folder = files.join(directory, "checkpoints")
  names = _names(folder)
  steps = sorted(int(found[1]) for found in map(_INDEX.match, names) if found)
  return [
    (step, files.join(folder, f"ckpt-{step}"))
    for step in steps
    if _has_data(step, names)
  ]


def require_plain_name(directory):
  """Refuses a directory whose name TensorFlow takes for a pattern.

  Its checkpoint reader looks for files by pattern: it would save to such a
  directory and find nothing there.

  Args:
    directory: the run's directory.

  Raises:
    ValueError: If the name holds one of * ? [ ] and the backslash.
  """
  if set(str(directory)) & set("*?[]\\"):
    raise ValueError(
      "--workdir must have no *, ?, [, ] or backslash in it: TensorFlow takes "
      "them for a pattern and does not find its checkpoints; choose another "
      f"name, or rename the directory. Received: workdir={directory}"
    )


def require_resumable(directory):
  """Refuses a run whose checkpoints are lost, instead of starting it again.

  Args:
    directory: the run's directory; it may be missing.

  Raises:
    ValueError: If the state file `checkpoint`, which is written after the first
      checkpoint, is there and no checkpoint is complete.
  """
  folder = files.join(directory, "checkpoints")
  names = _names(folder)
  if "checkpoint" in names and not checkpoint_paths(directory):
    raise ValueError(
      f"{folder} must hold a checkpoint, ckpt-STEP.index with its data files: "
      "a run was saved there and its files are gone. Restore them from a copy, "
      "or start again in another --workdir. Received: "
      f"checkpoints={sorted(names)}"
    )


_INDEX = re.compile(r"ckpt-(\d+)\.index$")
_DATA = re.compile(r"ckpt-(\d+)\.data-(\d{5})-of-(\d{5})$")


def _names(folder):
  if not tf.io.gfile.isdir(folder):
    return set()
  return {name.rstrip("/") for name in tf.io.gfile.listdir(folder)}


def _has_data(step, names):
  shards = [
    (int(found[2]), int(found[3]))
    for found in map(_DATA.match, names)
    if found and int(found[1]) == step
  ]
  return any(
    {(shard, count) for shard in range(count)} <= set(shards)
    for _, count in shards
  )


def restore_weights(model, checkpoint):
  """Takes the model's weights, and nothing else, from a run's checkpoint.

  Args:
    model: built model like the run's.
    checkpoint: path from `checkpoint_paths`.
  """
  weights = tf.train.Checkpoint(weights=_weights(model))
  status = weights.restore(checkpoint)
  status.assert_existing_objects_matched().expect_partial()


def _weights(model):
  # TensorFlow does not see Keras layers that are kept in lists: a checkpoint
  # of the model alone would leave out whole blocks.
  return tf.train.Checkpoint(all=[v.value for v in model.weights])


def _noise_and_metrics(model):
  # TensorFlow does not see Keras seed generators at all: without their state
  # SpecAugment and dropout would begin anew at every start.
  weights = {id(v) for v in model.weights}
  noise = [v for v in model.variables if id(v) not in weights]
  return tf.train.Checkpoint(
    all=[v.value for v in [*noise, *model.metrics_variables]]
  )

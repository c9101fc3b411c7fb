"""The checkpoints of a run: saved, found, restored."""

import os
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
    """
    path = tf.train.latest_checkpoint(self._directory)
    if path is None:
      return 0
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
  """All checkpoints of a run, oldest first.

  Args:
    directory: the run's directory.

  Returns:
    list of (step, path).
  """
  state = tf.train.get_checkpoint_state(files.join(directory, "checkpoints"))
  paths = state.all_model_checkpoint_paths if state else []
  return [(int(path.rsplit("-", 1)[1]), path) for path in paths]


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

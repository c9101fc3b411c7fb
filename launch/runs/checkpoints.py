"""The checkpoints of a run: saved, found, restored."""

import contextlib
import os
import tempfile

import keras
import tensorflow as tf
from absl import logging

from launch.runs import background, checkpoint_files, staging
from launch.runs.origin import Origin
from tf_pcc import files


class Checkpoints:
  """The checkpoints of a run: model, optimizer, the clipping's state, step.

  Every worker calls the same methods at the same steps, because saving adds up
  what the workers' metrics count. Only the chief's files stay.

  The values are written to a temporary folder of this machine while the caller
  waits. Syncing or uploading them, reading them back and removing older ones
  may go on in a thread (`wait=False`); training changes no file by then. As a
  context manager it waits for that thread, but not after a KeyboardInterrupt:
  what is not whole then is as if it had never been begun.

  Args:
    directory: the run's directory.
    model: compiled model, its optimizer built.
    keep: number of newest checkpoints to keep, 0 for all.
    chief: bool, whether this process is the one that writes.
    origin: what each checkpoint says of its run, or None; only checkpoints that
      say nothing else are restored.
  """

  def __init__(
    self,
    directory: str | os.PathLike,
    model: keras.Model,
    keep: int = 0,
    chief: bool = True,
    origin: Origin | None = None,
  ):
    # The stubs take tensors only.
    self.step = tf.Variable(0, dtype=tf.int64, trainable=False)  # pyright: ignore[reportArgumentType]
    self._checkpoint = tf.train.Checkpoint(
      model=model,
      weights=_weights(model),
      noise_and_metrics=_noise_and_metrics(model),
      optimizer=model.optimizer,
      step=self.step,
    )
    self._folder = files.join(directory, "checkpoints")
    self._keep = keep
    self._chief = chief
    self._saved: int | None = None
    self._background = background.Background()
    # Files are staged on this machine, wherever the variables are.
    self._options = tf.train.CheckpointOptions(
      experimental_io_device=_local_device()
    )
    self._origin = origin

  def restore(self, step: int) -> None:
    """Takes a checkpoint.

    Args:
      step: int, that of a complete checkpoint, as `resuming.saved_step` gives
        it; 0 takes none.

    Raises:
      ValueError: If it was saved with another tokenizer or config, of another
        model or optimizer, or at another step.
    """
    if not step:
      return
    path = checkpoint_files.path_of(self._folder, step)
    if self._origin:
      self._origin.require(path)
    with _of_this_model(path):
      self._checkpoint.restore(path).assert_existing_objects_matched()
    self._saved = int(self.step.numpy())
    if self._saved != step:
      raise ValueError(
        f"{path}.* must have the name that it was saved with: rename the files "
        f"to ckpt-{self._saved}.*. Received: step={step}"
      )
    if self._chief:
      # A process that was killed between saving and removing left too many.
      self._keep_newest(step)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
    if kind is None:
      self.wait()
    elif not issubclass(kind, KeyboardInterrupt):
      try:
        self.wait()
      except Exception as error:
        # The first error is the one to be told.
        logging.warning("the last checkpoint is not saved: %s", error)

  def save(self, step: int, wait: bool = True) -> None:
    """Writes a checkpoint of this step, unless it is there already.

    Older ones are removed when it is on the disk and was read back.

    Args:
      step: number of the step.
      wait: whether to return only when it is on the disk or in the bucket.
        Otherwise a thread goes on with that, and an error of it is raised by
        the next `save` or `wait`.

    Raises:
      OSError: If what was written cannot be read; the older ones stay.
    """
    if self._saved != step:
      self.wait()
      self._start(step)
    if wait:
      self.wait()

  def wait(self) -> None:
    """Returns when no checkpoint is being written.

    Raises:
      OSError: If what was written cannot be read; the older ones stay.
    """
    try:
      self._background.wait()
    except BaseException:
      self._saved = None
      raise

  def _start(self, step):
    self.step.assign(step)
    if self._origin:
      # Not before: what was saved without it must be restored without it.
      self._origin.put_into(self._checkpoint)
    # `tf.train.Checkpoint.restore` looks for it in what it reads.
    self._checkpoint.save_counter.assign_add(1)
    if self._chief:
      files.make_folder(self._folder)
      staged = staging.make(self._folder, step)
      try:
        self._checkpoint.write(
          checkpoint_files.path_of(staged, step), self._options
        )
      except BaseException:
        staging.remove(staged)
        raise
      self._background.start(self._publish, staged, step)
    else:
      with tempfile.TemporaryDirectory() as unused:
        self._checkpoint.write(os.path.join(unused, "checkpoint"))
    self._saved = step

  def _publish(self, staged, step):
    staging.publish(staged, self._folder, step)
    checkpoint_files.require_index(self._folder, step)
    self._keep_newest(step)

  def _keep_newest(self, step):
    """Names those that are kept, `step` the newest; removes the others."""
    older, _ = checkpoint_files.steps(self._folder)
    older.remove(step)
    kept = [*older, step][-self._keep :]
    checkpoint_files.write_state(self._folder, kept)
    for old in older:
      if old not in kept:
        checkpoint_files.remove(self._folder, old)


def checkpoint_paths(directory: str | os.PathLike) -> list[tuple[int, str]]:
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
  complete, _ = checkpoint_files.steps(folder)
  return [(step, checkpoint_files.path_of(folder, step)) for step in complete]


def require_plain_name(directory: str | os.PathLike) -> None:
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


def _local_device():
  """This process's CPU, where the devices of other hosts have names too."""
  names = [device.name for device in tf.config.list_logical_devices("CPU")]
  return next((name for name in names if "/job:localhost/" in name), None)


def restore_weights(model: keras.Model, checkpoint: str) -> None:
  """Takes the model's weights, and nothing else, from a run's checkpoint.

  Args:
    model: built model like the run's.
    checkpoint: path from `checkpoint_paths`.

  Raises:
    ValueError: If its files are damaged, or of another model.
  """
  weights = tf.train.Checkpoint(weights=_weights(model))
  try:
    with _of_this_model(checkpoint):
      status = weights.restore(checkpoint)
      status.assert_existing_objects_matched().expect_partial()
  except Exception as error:
    if not checkpoint_files.is_damage(error):
      raise
    raise ValueError(
      f"{checkpoint}.* must be the files of a checkpoint as they were written: "
      "name an earlier one by --step, or train on from it with python -m "
      f"launch.train. Received: {checkpoint_files.brief(error)}"
    ) from error


@contextlib.contextmanager
def _of_this_model(path):
  """Says so where what is in a checkpoint does not fit the variables."""
  try:
    yield
  except (AssertionError, ValueError) as error:
    raise ValueError(
      f"{path}.* must be a checkpoint of the model and the optimizer that "
      "config.json names: restore the run's own, or take another --workdir. "
      f"Received: {checkpoint_files.brief(error)}"
    ) from error


def _weights(model):
  # TensorFlow does not see Keras layers that are kept in lists: a checkpoint
  # of the model alone would leave out whole blocks.
  return tf.train.Checkpoint(all=[v.value for v in model.weights])


def _noise_and_metrics(model):
  # TensorFlow does not see Keras seed generators at all: without their state
  # SpecAugment and dropout would start over at every start.
  weights = {id(v) for v in model.weights}
  noise = [v for v in model.variables if id(v) not in weights]
  return tf.train.Checkpoint(
    all=[v.value for v in [*noise, *model.metrics_variables]]
  )

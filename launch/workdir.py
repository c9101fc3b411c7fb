"""What a training run leaves in its directory, and how to open it again.

DIR/config.json      the experiment, whole
DIR/tokenizer.json   the labels
DIR/metrics.jsonl    a line a log step
DIR/tensorboard/     the same for TensorBoard
DIR/canaries.json    the canaries inserted, if any; DIR/canaries/: their sound
DIR/checkpoints/     weights, optimizer, the clipping's state, the step
DIR/summary.json     the end: error rates, speed, clipping
"""

import json
import os
import posixpath
import tempfile

import numpy as np
import tensorflow as tf
from absl import logging
from ml_collections import config_dict

from launch import experiment
from launch.configs import base
from models import registry
from tf_pcc.data import text

# Changing these between two parts of a run changes no number but their own.
FREE_FIELDS = (
  "log_every",
  "checkpoint_every",
  "validate_every",
  "keep_checkpoints",
  "evaluation_batch",
  "steps",
  "data.cache",
)


def join(directory, *names):
  """A path in a local or remote directory."""
  return posixpath.join(directory, *names)


def write_json(path, value):
  """Writes JSON whole or not at all.

  Args:
    path: file, local or anything tf.io.gfile writes.
    value: what `json` takes, NumPy scalars too.
  """
  write_text(path, json.dumps(value, indent=2, default=_plain) + "\n")


def write_text(path, content):
  """Writes a text file whole or not at all."""
  temporary = f"{path}.tmp{os.getpid()}"
  with tf.io.gfile.GFile(temporary, "w") as file:
    file.write(content)
  tf.io.gfile.rename(temporary, path, overwrite=True)


def require_parent(path, name):
  """Refuses a file that cannot be written, before the work whose end it is.

  Args:
    path: file to be written later.
    name: the flag it came by.

  Raises:
    ValueError: when its directory does not exist, when it is itself a
      directory, or when no file can be made there.
  """
  parent, file = os.path.split(path)
  if not file or parent and not tf.io.gfile.isdir(parent):
    raise ValueError(
      f"{name} must be a file in a directory that exists. Received: "
      f"{name}={path}"
    )
  if tf.io.gfile.isdir(path):
    raise ValueError(
      f"{name} must be a file, not a directory. Received: {name}={path}"
    )
  # As `write_text` makes it.
  temporary = f"{path}.tmp{os.getpid()}"
  try:
    with tf.io.gfile.GFile(temporary, "w") as opened:
      opened.write("")
    tf.io.gfile.remove(temporary)
  except (tf.errors.OpError, OSError) as error:
    raise ValueError(
      f"{name} must be a file that can be written. Received: {name}={path} "
      f"({error})"
    ) from error


def read_json(path):
  """Reads a JSON file."""
  with tf.io.gfile.GFile(path) as file:
    return json.load(file)


def _plain(value):
  if isinstance(value, (np.generic, np.ndarray)):
    return value.tolist()
  raise TypeError(f"{type(value).__name__} is not JSON")


def check_config(directory, config):
  """Refuses a directory that holds a run of another config.

  Args:
    directory: the run's directory; it may be missing.
    config: the experiment's `ConfigDict`.

  Raises:
    ValueError: listing the fields that differ.
  """
  path = join(directory, "config.json")
  if not tf.io.gfile.exists(path):
    return
  # Fields younger than the run have their defaults.
  saved = json.loads(load_config(directory).to_json_best_effort())
  given = json.loads(config.to_json_best_effort())
  free = set(FREE_FIELDS)
  if given["canaries"]["insert"]:
    # Their repetitions are spread over the steps.
    free.remove("steps")
  differing = [
    f"{name}: {was!r} there, {now!r} now"
    for name, was, now in _differences(saved, given)
    if name not in free
  ]
  if differing:
    raise ValueError(
      f"--workdir must be empty or hold a run of this config: {directory} "
      f"was made by another. Received: {'; '.join(differing)}"
    )
  if saved["steps"] != given["steps"]:
    logging.warning(
      "steps changed from %d to %d: the learning rate's schedule is that of "
      "%d steps from here on",
      saved["steps"],
      given["steps"],
      given["steps"],
    )


def save_config(directory, config):
  """Writes config.json to the run's directory, which is made if missing."""
  tf.io.gfile.makedirs(directory)
  given = json.loads(config.to_json_best_effort())
  write_json(join(directory, "config.json"), given)


def load_config(directory):
  """The config of a run.

  Args:
    directory: the run's directory.

  Returns:
    The experiment's `ConfigDict`.

  Raises:
    ValueError: when there is no run.
  """
  path = join(directory, "config.json")
  if not tf.io.gfile.exists(path):
    raise ValueError(
      "--workdir must be the directory of a training run; there is no "
      f"config.json. Received: workdir={directory}"
    )
  config = base.get_config()
  saved = read_json(path)
  with config.unlocked():
    config.update(saved)
  for group, field in (("model", "fields"), ("optimizer", "arguments")):
    config[group][field] = config_dict.ConfigDict(
      saved[group][field], convert_dict=False
    )
  return config


def save_tokenizer(directory, tokenizer):
  """Writes tokenizer.json, whole or not at all."""
  write_json(join(directory, "tokenizer.json"), tokenizer.get_config())


def load_tokenizer(directory):
  """The tokenizer of a run."""
  return text.tokenizer_from_config(
    read_json(join(directory, "tokenizer.json"))
  )


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
    self._directory = join(directory, "checkpoints")
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
  state = tf.train.get_checkpoint_state(join(directory, "checkpoints"))
  paths = state.all_model_checkpoint_paths if state else []
  return [(int(path.rsplit("-", 1)[1]), path) for path in paths]


def require_recogniser(directory):
  """Refuses a run whose model does not transcribe; no run is none.

  Args:
    directory: the run's directory.

  Raises:
    ValueError: saying to fine-tune first.
  """
  if not tf.io.gfile.exists(join(directory, "config.json")):
    return
  name = load_config(directory).model.name
  if not registry.is_recogniser(name):
    raise ValueError(
      f"--workdir must hold a recogniser; {name} only prepares "
      "one: fine-tune first, with python -m launch.train --config.init_from="
      f"{directory}. Received: workdir={directory}"
    )


def load_model(directory, checkpoint=None, step=None, recogniser=True):
  """The trained model of a run, for inference.

  Args:
    directory: the run's directory.
    checkpoint: path from `checkpoint_paths`, the newest by default.
    step: int, names the checkpoint by its step instead.
    recogniser: bool, whether it must be one that transcribes.

  Returns:
    The model, its tokenizer, the config, and the step of the checkpoint.

  Raises:
    ValueError: when there is no run or no such checkpoint, or the model is no
      recogniser.
  """
  config = load_config(directory)
  if recogniser:
    require_recogniser(directory)
  paths = checkpoint_paths(directory)
  if not paths:
    raise ValueError(
      "--workdir must hold a checkpoint: train first, with python -m "
      f"launch.train --workdir={directory}. Received: workdir={directory}"
    )
  if step is not None:
    if step not in dict(paths):
      raise ValueError(
        f"step must be that of a checkpoint: {[s for s, _ in paths]}. "
        f"Received: step={step}"
      )
    checkpoint = dict(paths)[step]
  by_path = {path: step for step, path in paths}
  checkpoint = checkpoint or paths[-1][1]
  tokenizer = load_tokenizer(directory)
  model = experiment.make_model(config, tokenizer.vocab_size)
  restore_weights(model, checkpoint)
  return model, tokenizer, config, by_path[checkpoint]


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


def _differences(saved, given, prefix=""):
  for name in sorted({*saved, *given}):
    was, now = saved.get(name), given.get(name)
    if isinstance(was, dict) and isinstance(now, dict):
      yield from _differences(was, now, f"{prefix}{name}.")
    elif was != now:
      yield prefix + name, was, now

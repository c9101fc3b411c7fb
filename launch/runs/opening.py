"""Opens a training run: its tokenizer, its model with trained weights.

DIR/config.json      the experiment, whole
DIR/tokenizer.json   the labels
DIR/metrics.jsonl    a line a log step
DIR/tensorboard/     the same for TensorBoard
DIR/logs/            what launch.train printed, with --output_log
DIR/canaries.json    the canaries inserted, if any; DIR/canaries/: their sound
DIR/checkpoints/     weights, optimizer, the clipping's state, the step
DIR/summary.json     the end: error rates, speed, clipping
"""

import os

import tensorflow as tf
from ml_collections import config_dict

from launch.runs import checkpoints, experiment, origin, saved_config
from models import registry
from models.speech_model import SpeechModel
from tf_pcc import files
from tf_pcc.data import text
from tf_pcc.data.text import Tokenizer


def save_tokenizer(directory: str | os.PathLike, tokenizer: Tokenizer) -> None:
  """Writes tokenizer.json, whole or not at all.

  Args:
    directory: the run's directory.
    tokenizer: `tf_pcc.data.text.Tokenizer`.
  """
  files.write_json(
    files.join(directory, "tokenizer.json"), tokenizer.get_config()
  )


def load_tokenizer(directory: str | os.PathLike) -> Tokenizer:
  """The tokenizer of a run.

  Args:
    directory: the run's directory.

  Returns:
    `tf_pcc.data.text.Tokenizer`.

  Raises:
    ValueError: If it is not the one that the run's config.json names.
  """
  path = files.join(directory, "tokenizer.json")
  tokenizer = text.load_tokenizer(path)
  if tf.io.gfile.exists(files.join(directory, "config.json")):
    # Runs from before there was a digest have none.
    expected = saved_config.load_config(directory).tokenizer.digest
    if expected and expected != tokenizer.digest():
      raise ValueError(
        f"{path}: its labels are not those that the run was trained with; "
        f"restore a copy of it. Received: digest={tokenizer.digest()}, "
        f"config.json has {expected}"
      )
  return tokenizer


def require_recogniser(directory: str | os.PathLike) -> None:
  """Refuses a run whose model does not transcribe; a missing run is accepted.

  Args:
    directory: the run's directory.

  Raises:
    ValueError: If it does not; fine-tune first.
  """
  if not tf.io.gfile.exists(files.join(directory, "config.json")):
    return
  name = saved_config.load_config(directory).model.name
  if not registry.is_recogniser(name):
    raise ValueError(
      f"--workdir must hold a recogniser; {name} only prepares "
      "one: fine-tune first, with python -m launch.train --config.init_from="
      f"{directory}. Received: workdir={directory}"
    )


def load_model(
  directory: str | os.PathLike,
  checkpoint: str | None = None,
  step: int | None = None,
  recogniser: bool = True,
) -> tuple[SpeechModel, Tokenizer, config_dict.ConfigDict, int]:
  """The trained model of a run, for inference.

  Args:
    directory: the run's directory.
    checkpoint: path from `checkpoint_paths`, the newest by default.
    step: int, names the checkpoint by its step instead.
    recogniser: bool, whether it must be one that transcribes.

  Returns:
    The model, its tokenizer, the config, and the step of the checkpoint.

  Raises:
    ValueError: If there is no run or no such checkpoint, or the model is no
      recogniser.
  """
  checkpoints.require_plain_name(directory)
  config = saved_config.load_config(directory)
  if recogniser:
    require_recogniser(directory)
  paths = checkpoints.checkpoint_paths(directory)
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
  origin.require(checkpoint, tokenizer.digest(), config, "model")
  checkpoints.restore_weights(model, checkpoint)
  return model, tokenizer, config, by_path[checkpoint]

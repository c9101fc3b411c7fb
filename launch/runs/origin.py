"""What a checkpoint says of its run: whose labels it gives, by what config."""

import json

import numpy as np
import tensorflow as tf
from ml_collections import config_dict

from launch.runs import checkpoint_files, saved_config

_TOKENIZER = "tokenizer/.ATTRIBUTES/VARIABLE_VALUE"
_CONFIG = "config/.ATTRIBUTES/py_state"


class Origin:
  """Of the checkpoints that a run writes, and of those that it may restore.

  Args:
    tokenizer_digest: of the tokenizer whose labels the model gives.
    config: the experiment's `ConfigDict`.
  """

  def __init__(self, tokenizer_digest: str, config: config_dict.ConfigDict):
    self._digest = tokenizer_digest
    self._config = config
    words = tf.constant(_words(tokenizer_digest))
    self._tokenizer = tf.Variable(words, trainable=False)
    self._state = _Text(
      json.dumps(saved_config.as_json(config), sort_keys=True)
    )

  def put_into(self, checkpoint: tf.train.Checkpoint) -> None:
    """Lets a checkpoint say it.

    Args:
      checkpoint: what is to be written.
    """
    checkpoint.tokenizer = self._tokenizer
    checkpoint.config = self._state

  def require(self, checkpoint: str) -> None:
    """Refuses a checkpoint of another tokenizer or config.

    Args:
      checkpoint: path from `checkpoint_paths`; what says nothing is accepted.

    Raises:
      ValueError: If it is another's; the fields that differ are named.
    """
    require_tokenizer(checkpoint, self._digest)
    require_config(checkpoint, self._config)


class _Text(tf.train.experimental.PythonState):
  """A string that is written and never taken back."""

  def __init__(self, text):
    super().__init__()
    self._text = text

  def serialize(self):
    return self._text

  def deserialize(self, string_value):
    del string_value


def require_tokenizer(checkpoint: str, digest: str) -> None:
  """Refuses a checkpoint whose labels are those of another tokenizer.

  Args:
    checkpoint: path from `checkpoint_paths`.
    digest: of the tokenizer at hand.

  Raises:
    ValueError: If the checkpoint has another digest; older ones have none.
  """
  saved = _read(checkpoint, _TOKENIZER)
  if saved is not None and saved.tolist() != _words(digest).tolist():
    raise ValueError(
      f"{checkpoint}: its labels are not those of the run's tokenizer.json; "
      "restore a copy of that file. Received: digest="
      f"{saved.astype('<i8').tobytes().hex()} there, {digest} here"
    )


def require_config(
  checkpoint: str, config: config_dict.ConfigDict, group: str = ""
) -> None:
  """Refuses a checkpoint that was trained with another config.

  Args:
    checkpoint: path from `checkpoint_paths`.
    config: the `ConfigDict` at hand.
    group: of the fields to compare, such as "model"; "": all.

  Raises:
    ValueError: If fields differ; they are named. Older checkpoints have none.
  """
  saved = _read(checkpoint, _CONFIG)
  if saved is not None:
    saved_config.check_checkpoint(checkpoint, json.loads(saved), config, group)


def _read(checkpoint, key):
  """A value of a checkpoint; None if it has none, or is damaged."""
  checkpoint_files.require_regular(checkpoint)
  try:
    reader = tf.compat.v1.train.NewCheckpointReader(checkpoint)
    return reader.get_tensor(key) if reader.has_tensor(key) else None
  except Exception as error:
    if not checkpoint_files.is_damage(error):
      raise
    return None  # Whoever restores it says what is wrong.


def _words(digest):
  """A SHA-256 as int64 [4], which every device can hold."""
  return np.frombuffer(bytes.fromhex(digest), "<i8")

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
    require(checkpoint, self._digest, self._config)


class _Text(tf.train.experimental.PythonState):
  """A string that is written and never taken back."""

  def __init__(self, text):
    super().__init__()
    self._text = text

  def serialize(self):
    return self._text

  def deserialize(self, string_value):
    del string_value


def require(
  checkpoint: str,
  digest: str,
  config: config_dict.ConfigDict,
  group: str = "",
) -> None:
  """Refuses a checkpoint of another tokenizer, or trained with another config.

  Args:
    checkpoint: path from `checkpoint_paths`; older ones say nothing and are
      accepted.
    digest: of the tokenizer at hand.
    config: the `ConfigDict` at hand.
    group: of its fields to compare, such as "model"; "": all.

  Raises:
    ValueError: If it is another's; the fields that differ are named.
  """
  labels, saved = _read(checkpoint, _TOKENIZER, _CONFIG)
  if labels is not None and labels.tolist() != _words(digest).tolist():
    raise ValueError(
      f"{checkpoint}: its labels are not those of the run's tokenizer.json; "
      "restore a copy of that file. Received: digest="
      f"{labels.astype('<i8').tobytes().hex()} there, {digest} here"
    )
  if saved is not None:
    saved_config.check_checkpoint(checkpoint, json.loads(saved), config, group)


def _read(checkpoint, *keys):
  """Values of a checkpoint; None for what it has not, or if it is damaged."""
  checkpoint_files.require_regular(checkpoint)
  try:
    reader = tf.compat.v1.train.NewCheckpointReader(checkpoint)
    return [
      reader.get_tensor(k) if reader.has_tensor(k) else None for k in keys
    ]
  except Exception as error:
    if not checkpoint_files.is_damage(error):
      raise
    return [None for _ in keys]  # Whoever restores it says what is wrong.


def _words(digest):
  """A SHA-256 as int64 [4], which every device can hold."""
  return np.frombuffer(bytes.fromhex(digest), "<i8")

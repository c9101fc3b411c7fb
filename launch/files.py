"""Files, local or remote: JSON and text, written whole or not at all."""

import json
import os
import posixpath

import numpy as np
import tensorflow as tf


def join(directory, *names):
  """A path in a local or remote directory."""
  return posixpath.join(directory, *names)


def read_json(path):
  """Reads a JSON file."""
  with tf.io.gfile.GFile(path) as file:
    return json.load(file)


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


def _plain(value):
  if isinstance(value, (np.generic, np.ndarray)):
    return value.tolist()
  raise TypeError(f"{type(value).__name__} is not JSON")

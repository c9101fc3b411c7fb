"""The files of a run's checkpoints: listed, verified, moved, swept.

ckpt-STEP.index and ckpt-STEP.data-*   a checkpoint; the index is written last
checkpoint                             TensorFlow's state file: their names
damaged-ckpt-STEP.*                    what could not be read, moved aside
ckpt-STEP_temp/                        one that is being written
"""

import contextlib
import os
import re
from collections.abc import Iterable, Sequence

import tensorflow as tf

from tf_pcc import files

STATE = "checkpoint"
# A step as it is written: no leading zeros, within 64 bits.
_STEP = r"(0|[1-9]\d{0,17})"
_INDEX = re.compile(rf"ckpt-{_STEP}\.index$")
_DATA = re.compile(rf"ckpt-{_STEP}\.data-(\d{{5}})-of-(\d{{5}})$")
_ANY_INDEX = re.compile(rf"(damaged-)?ckpt-{_STEP}\.index(\.\d+)?$")
_TEMP_FOLDER = re.compile(r"ckpt-\d+_temp$")
# What a writer that was killed leaves of a file, by the file's name: see
# `files.replacing`; the last form is TensorFlow's own.
_LEFT_OF = r"(\.writing-.*-{0}|{0}\.tmp[0-9a-f]+)$"


def names(folder: str | os.PathLike) -> set[str]:
  """The names in a folder.

  Args:
    folder: local or remote folder; it may be missing.

  Returns:
    set of str.
  """
  if not tf.io.gfile.isdir(folder):
    return set()
  return {name.rstrip("/") for name in tf.io.gfile.listdir(folder)}


def is_index(name: str) -> bool:
  """Whether a file is the index of a checkpoint, in its place or set aside.

  Args:
    name: of a file in the folder of the checkpoints.

  Returns:
    bool.
  """
  return bool(_ANY_INDEX.match(name))


def require_types(folder: str | os.PathLike) -> None:
  """Refuses what could not be written to at the first checkpoint.

  Args:
    folder: the folder of the checkpoints; it may be missing.

  Raises:
    ValueError: If it is a file, or its state file is a folder.
  """
  if tf.io.gfile.exists(folder) and not tf.io.gfile.isdir(folder):
    raise ValueError(
      f"{folder} must be a folder: move the file away, and restore the folder "
      "of checkpoints if there was one. Received: a file"
    )
  state = files.join(folder, STATE)
  if tf.io.gfile.isdir(state):
    raise ValueError(
      f"{state} must be a file: move the folder away. Received: a folder"
    )


def path_of(folder: str | os.PathLike, step: int) -> str:
  """The path of a checkpoint, without its endings.

  Args:
    folder: local or remote folder.
    step: number of the step.

  Returns:
    The path.
  """
  return files.join(folder, f"ckpt-{step}")


def files_of(folder: str | os.PathLike, step: int) -> list[str]:
  """The names of a checkpoint's files.

  Args:
    folder: local or remote folder.
    step: number of the step.

  Returns:
    list of str, the index first.
  """
  mine = re.compile(rf"ckpt-{step}\.(index$|data-)")
  found = [name for name in names(folder) if mine.match(name)]
  return sorted(found, key=lambda name: (not name.endswith(".index"), name))


def steps(folder: str | os.PathLike) -> tuple[list[int], list[int]]:
  """The steps of checkpoints that have an index and all of their data files.

  Args:
    folder: the folder of the checkpoints; it may be missing.

  Returns:
    Two sorted lists of int: the complete ones, and those that lack a file.
  """
  listed = names(folder)
  indices = {int(found[1]) for found in map(_INDEX.match, listed) if found}
  shards = {}
  for found in map(_DATA.match, listed):
    if found:
      whole = shards.setdefault(int(found[1]), {})
      whole.setdefault(int(found[3]), set()).add(int(found[2]))
  complete = {
    step
    for step in indices & shards.keys()
    if any(len(parts) == count for count, parts in shards[step].items())
  }
  return sorted(complete), sorted((indices | shards.keys()) - complete)


def complaint(folder: str | os.PathLike, step: int) -> str | None:
  """What is wrong with a checkpoint.

  Every tensor is read, which checks their sums: as much memory is needed as for
  restoring.

  Args:
    folder: the folder of the checkpoints.
    step: int, the step of a complete checkpoint.

  Returns:
    str, None if it is good.

  Raises:
    tf.errors.OpError: If a file cannot be opened, which is no damage.
  """
  path = path_of(folder, step)
  try:
    require_regular(path)
  except ValueError as error:
    return str(error)
  for name in files_of(folder, step):
    with tf.io.gfile.GFile(files.join(folder, name), "rb") as file:
      file.read(1)
  try:
    dtypes = tf.compat.v1.train.NewCheckpointReader(
      path
    ).get_variable_to_dtype_map()
    if not dtypes:
      return f"ckpt-{step}: it holds nothing"
    with tf.device("CPU:0"):
      tf.raw_ops.RestoreV2(
        prefix=path,
        tensor_names=list(dtypes),
        shape_and_slices=[""] * len(dtypes),
        dtypes=list(dtypes.values()),
      )
  except Exception as error:
    if not is_damage(error):
      raise
    return f"ckpt-{step}: {brief(error)}"
  return None


def require_regular(checkpoint: str) -> None:
  """Refuses a checkpoint whose files are none: a FIFO would be waited for.

  Args:
    checkpoint: its path, without the files' endings.

  Raises:
    ValueError: If a local file of it is a FIFO, a device or a broken link.
  """
  if files.is_remote(checkpoint):
    return
  folder, name = os.path.split(checkpoint)
  for found in names(folder):
    if found.startswith(f"{name}."):
      path = files.join(folder, found)
      files.require_regular(path)
      if not os.path.exists(path):
        raise ValueError(f"{path} is a link that leads nowhere: remove it")


def is_damage(error: Exception) -> bool:
  """Whether an error of TensorFlow says that a file is not as it was written.

  What says that it cannot be reached, such as PermissionDeniedError and
  UnavailableError, is none. A bad index has no type of its own.

  Args:
    error: what reading a checkpoint raised.

  Returns:
    bool.
  """
  kinds = (
    tf.errors.DataLossError,
    tf.errors.OutOfRangeError,
    tf.errors.NotFoundError,
    IndexError,
  )
  return isinstance(error, kinds) or type(error) is tf.errors.OpError


def brief(error: Exception) -> str:
  """The first line of what TensorFlow says, without ops and devices.

  Args:
    error: an exception of TensorFlow.

  Returns:
    One line.
  """
  # The op's name and devices come before it, its node after it.
  text = str(getattr(error, "message", error)).partition(" [Op:")[0]
  lines = text.rpartition("}} ")[2].splitlines()
  return lines[0] if lines else type(error).__name__


def require_index(folder: str | os.PathLike, step: int) -> None:
  """Reads the index of a checkpoint that was just written.

  Args:
    folder: the folder of the checkpoints.
    step: int.

  Raises:
    OSError: If it cannot be read.
  """
  path = path_of(folder, step)
  try:
    tf.compat.v1.train.NewCheckpointReader(path)
  except Exception as error:
    if not is_damage(error):
      raise
    raise OSError(
      f"{path}.index must be readable once it is written: the disk is full or "
      "failing; make room or choose another, the older checkpoints are there. "
      f"Received: {brief(error)}"
    ) from error


def write_state(folder: str | os.PathLike, kept: Sequence[int]) -> None:
  """Writes the file that `tf.train.latest_checkpoint` reads.

  Args:
    folder: the folder of the checkpoints.
    kept: list of int, the steps, oldest first, not empty.
  """
  lines = [f'model_checkpoint_path: "ckpt-{kept[-1]}"']
  lines += [f'all_model_checkpoint_paths: "ckpt-{step}"' for step in kept]
  files.write_text(files.join(folder, STATE), "\n".join(lines) + "\n")


def remove(folder: str | os.PathLike, step: int) -> None:
  """Removes a checkpoint: the index first, so that no half of it counts.

  Args:
    folder: local or remote folder.
    step: number of the step.
  """
  for name in files_of(folder, step):
    tf.io.gfile.remove(files.join(folder, name))


def set_aside(folder: str | os.PathLike, step: int) -> None:
  """Renames a checkpoint's files to damaged-..., and overwrites none.

  Args:
    folder: the folder of the checkpoints.
    step: int.
  """
  taken = names(folder)
  for name in files_of(folder, step):
    number, new = 1, f"damaged-{name}"
    while new in taken:
      number += 1
      new = f"damaged-{name}.{number}"
    tf.io.gfile.rename(files.join(folder, name), files.join(folder, new))
  if not files.is_remote(folder):
    files.sync(folder)


def sweep(folder: str | os.PathLike, written: Iterable[str] = ()) -> None:
  """Removes what a killed process was writing.

  Args:
    folder: local or remote folder; it may be missing.
    written: names of files that only the caller writes there.
  """
  left = [re.compile(_LEFT_OF.format(re.escape(name))) for name in written]
  for name in names(folder):
    path = files.join(folder, name)
    if _TEMP_FOLDER.match(name) and tf.io.gfile.isdir(path):
      tf.io.gfile.rmtree(path)
    elif any(pattern.match(name) for pattern in left):
      with contextlib.suppress(tf.errors.NotFoundError):
        tf.io.gfile.remove(path)

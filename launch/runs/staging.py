"""A checkpoint that is being written, until it is in its place.

It is written to a folder of its own: ckpt-STEP_temp beside the checkpoints, or,
if they are remote, a temporary folder of this machine.
"""

import glob
import os
import secrets
import shutil
import tempfile

import tensorflow as tf

from launch.runs import checkpoint_files
from tf_pcc import files, locks

# Of a temporary folder's name, before the number of the process and a token
# that tells it from earlier processes of that number.
_STAGED, _TOKEN = "tf_pcc-checkpoint-", secrets.token_hex(4)


def make(folder: str | os.PathLike, step: int) -> str:
  """Makes the folder that a checkpoint is written to before it is published.

  Args:
    folder: the folder of the checkpoints.
    step: int.

  Returns:
    For a local folder one inside it, on the same disk; for a remote one a
    folder of this machine.
  """
  if files.is_remote(folder):
    _sweep()
    return tempfile.mkdtemp(prefix=f"{_STAGED}{os.getpid()}-{_TOKEN}-")
  staged = f"{checkpoint_files.path_of(folder, step)}_temp"
  os.makedirs(staged, exist_ok=True)
  return staged


def publish(staged: str, folder: str | os.PathLike, step: int) -> None:
  """Puts a checkpoint in its place, the index last, and removes `staged`.

  Local files are synced before they are moved: whatever a power cut leaves in
  their place is whole. In object storage a file is there when all of it is.

  Args:
    staged: what `make` returned.
    folder: the folder of the checkpoints.
    step: int.
  """
  try:
    for name in reversed(checkpoint_files.files_of(staged, step)):
      if files.is_remote(folder):
        tf.io.gfile.copy(
          files.join(staged, name), files.join(folder, name), overwrite=True
        )
      else:
        files.sync(files.join(staged, name))
        os.replace(files.join(staged, name), files.join(folder, name))
  finally:
    remove(staged)
  if not files.is_remote(folder):
    files.sync(folder)


def remove(staged: str) -> None:
  """Removes what `make` made.

  Args:
    staged: what it returned.
  """
  shutil.rmtree(staged, ignore_errors=True)


def _sweep():
  """Removes what killed processes of this machine have staged."""
  mine = f"{os.getpid()}-{_TOKEN}"
  for path in glob.glob(os.path.join(tempfile.gettempdir(), f"{_STAGED}*-*")):
    owner = os.path.basename(path).removeprefix(_STAGED)
    process = owner.partition("-")[0]
    # A number is given again: in a container it often is the same one.
    other = process == str(os.getpid()) and not owner.startswith(mine)
    if process.isdecimal() and (other or not locks.lives(int(process))):
      shutil.rmtree(path, ignore_errors=True)

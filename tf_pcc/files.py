"""Files, local or remote, written whole or not at all: the one writer.

Long, because text, JSON, bytes and folders share one way to be written.

A local file is written under a temporary name in the same folder, synced to
disk, renamed, and its folder is synced: after a power cut there is the old
content or the new one. Remote paths, those with a scheme such as gs://, go
through `tf.io.gfile`; TensorFlow is imported for them only.
"""

import contextlib
import json
import os
import pathlib
import posixpath
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tf_pcc import forms


def is_remote(path: str | os.PathLike) -> bool:
  """Whether a path has a scheme, such as gs:// or ram://.

  Args:
    path: file or folder.

  Returns:
    True if it has a scheme, such as gs://.
  """
  return "://" in os.fspath(path)


def join(directory: str | os.PathLike, *names: str) -> str:
  """A path in a local or remote directory.

  Args:
    directory: local or remote folder.
    *names: what follows, without slashes at their ends.

  Returns:
    The path.
  """
  return posixpath.join(os.fspath(directory), *names)


def read_text(path: str | os.PathLike) -> str:
  """Reads a UTF-8 file.

  Args:
    path: local or remote file. A byte order mark is dropped.

  Returns:
    str.

  Raises:
    ValueError: If it is not UTF-8, or a FIFO or a device.
    OSError: If a local file cannot be read.
  """
  try:
    return read_bytes(path).decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise ValueError(
      f"{os.fspath(path)} must be UTF-8 text: save it as UTF-8. Received: "
      f"{error.reason} at byte {error.start}"
    ) from error


def read_bytes(path: str | os.PathLike) -> bytes:
  """Reads a file.

  Args:
    path: local or remote file.

  Returns:
    All of its bytes.

  Raises:
    ValueError: If it is a FIFO or a device.
    OSError: If a local file cannot be read.
  """
  if is_remote(path):
    with _gfile().GFile(os.fspath(path), "rb") as file:
      return file.read()
  require_regular(path)
  return pathlib.Path(path).read_bytes()


def require_regular(path: str | os.PathLike) -> None:
  """Refuses what might be read from for ever: a FIFO, a device, a socket.

  Args:
    path: local path; a missing one and a folder are left to who opens it.

  Raises:
    ValueError: If it is such a thing.
  """
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError):
    return
  if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
    raise ValueError(
      f"{os.fspath(path)} must be a regular file: write what it gives to one. "
      "Received: a FIFO, a device or a socket"
    )


def read_json(
  path: str | os.PathLike,
  remedy: str = "make it again or restore a copy",
  form: Any = Any,
) -> Any:
  """Reads a JSON file.

  Args:
    path: local or remote file.
    remedy: what to do about a damaged file, for the message.
    form: what must be in it, a type as `forms.mismatch` takes it.

  Returns:
    What `json.loads` makes of it.

  Raises:
    ValueError: If it is empty, cut, not UTF-8, not JSON or of another form.
    OSError: If a local file cannot be read.
  """
  return parse_json(read_text(path), os.fspath(path), remedy, form)


def parse_json(text: str, name: str, remedy: str, form: Any = Any) -> Any:
  """The value of JSON text that was read from somewhere.

  Args:
    text: the JSON.
    name: where it is from, for the message.
    remedy: as of `read_json`, and so is the next.
    form: a type.

  Returns:
    What `json.loads` makes of it.

  Raises:
    ValueError: If `read_json` would refuse it.
  """
  try:
    value = json.loads(text)
  except (ValueError, RecursionError) as error:
    found = f"{len(text)} characters, {error}" if text.strip() else "no text"
    raise ValueError(
      f"{name} must be JSON: {remedy}. Received: {found}"
    ) from error
  wrong = forms.mismatch(value, form)
  if wrong:
    raise ValueError(f"{name} is not as it was written: {remedy}. {wrong}")
  return value


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes JSON, whole or not at all.

  Args:
    path: local or remote file.
    value: what `json.dumps` takes, NumPy scalars and arrays too.
  """
  write_text(path, json.dumps(value, indent=2, default=_plain) + "\n")


def write_text(path: str | os.PathLike, content: str) -> None:
  """Writes a UTF-8 text file, whole or not at all.

  Args:
    path: local or remote file; an existing one is replaced.
    content: all of its text, written as UTF-8.
  """
  write_bytes(path, content.encode("utf-8"))


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes a binary file, whole or not at all.

  Args:
    path: local or remote file; an existing one is replaced.
    content: all of its bytes.

  Raises:
    OSError: If a local file cannot be written; nothing is left behind.
  """
  with replacing(path) as temporary:
    if is_remote(path):
      with _gfile().GFile(temporary, "wb") as file:
        file.write(content)
    else:
      pathlib.Path(temporary).write_bytes(content)


def append_text(path: str | os.PathLike, text: str) -> None:
  """Adds UTF-8 text to the end of a file; a local one is synced to disk.

  Args:
    path: local or remote file; it may be missing.
    text: usually a line.

  Raises:
    OSError: If a local file cannot be written, with its path.
  """
  path = os.fspath(path)
  if is_remote(path):
    with _gfile().GFile(path, "a") as file:
      file.write(text)
    return
  new = not os.path.exists(path)
  with _naming(path), open(path, "a", encoding="utf-8") as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  if new:
    sync(os.path.dirname(os.path.abspath(path)))


def make_folder(path: str | os.PathLike) -> None:
  """Makes a folder and its parents; local ones survive a power cut.

  Args:
    path: local or remote folder; it may exist.

  Raises:
    OSError: If a local one cannot be made.
  """
  if is_remote(path):
    _gfile().makedirs(os.fspath(path))
    return
  folder = pathlib.Path(os.path.abspath(path))
  missing = [p for p in (folder, *folder.parents) if not p.exists()]
  folder.mkdir(parents=True, exist_ok=True)
  for made in reversed(missing):
    sync(made.parent)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
  """A temporary file that takes the place of `path` when the block ends well.

  For libraries that write files by themselves. When the block raises, the
  temporary file is removed and `path` stays as it was.

  Example:

  >>> import os, tempfile
  >>> from tf_pcc import files
  >>> path = os.path.join(tempfile.mkdtemp(), "a.txt")
  >>> with files.replacing(path) as temporary:
  ...   with open(temporary, "w") as file:
  ...     _ = file.write("whole")
  >>> files.read_text(path)
  'whole'

  Args:
    path: local or remote file; its folder must exist.

  Yields:
    The temporary name, str, in the same folder.
  """
  path = os.fspath(path)
  if is_remote(path):
    # Two machines that write it at once may have processes of one number.
    temporary = f"{path}.tmp{os.getpid()}{secrets.token_hex(4)}"
    try:
      yield temporary
      _gfile().rename(temporary, path, overwrite=True)
    except BaseException:
      with contextlib.suppress(Exception):
        _gfile().remove(temporary)
      raise
    return
  folder, name = os.path.split(os.path.abspath(path))
  unique = f"{os.getpid()}-{secrets.token_hex(4)}"
  temporary = os.path.join(folder, f"{_TEMPORARY}{unique}-{name}")
  with _naming(path, temporary):
    # Not tempfile's: that one is private, and the umask belongs to all threads.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
      yield temporary
      sync(temporary)
      os.replace(temporary, path)
    except BaseException:
      with contextlib.suppress(OSError):
        os.unlink(temporary)
      raise
    sync(folder)


@contextlib.contextmanager
def _naming(path, temporary=None):
  """An error about an open or a temporary file is one about the path."""
  try:
    yield
  except OSError as error:
    if error.errno and error.filename in (None, temporary):
      error.filename, error.filename2 = path, None
    raise


def sync(path: str | os.PathLike) -> None:
  """Makes a local file, or the names in a local folder, survive a power cut.

  Args:
    path: local file or folder.
  """
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def sweep(folder: str | os.PathLike) -> None:
  """Removes temporary files that killed processes left in a local folder.

  Args:
    folder: local folder that no other process writes to now; it may be missing.
  """
  for path in pathlib.Path(folder).glob(f"{_TEMPORARY}*"):
    path.unlink(missing_ok=True)


def refuse_existing(
  paths: Iterable[str | os.PathLike], overwrite: bool
) -> None:
  """Refuses to replace files.

  Args:
    paths: local files or folders that are to be written.
    overwrite: whether they may exist.

  Raises:
    FileExistsError: If one of them exists and `overwrite` is False.
  """
  existing = [str(path) for path in paths if pathlib.Path(path).exists()]
  if existing and not overwrite:
    raise FileExistsError(
      "existing files are not replaced; pass overwrite=True (--overwrite on "
      f"the command line) or another folder. Received: {', '.join(existing)}"
    )


def require_parent(path: str, name: str) -> None:
  """Fails early if a file cannot be written at the end of long work.

  Args:
    path: local or remote file to be written later.
    name: the flag it came by.

  Raises:
    ValueError: If its directory does not exist, if it is itself a directory,
      or if no file can be made there.
  """
  parent, file = os.path.split(path)
  is_directory = _gfile().isdir if is_remote(path) else os.path.isdir
  if not file or parent and not is_directory(parent):
    raise ValueError(
      f"{name} must be a file in a directory that exists. Received: "
      f"{name}={path}"
    )
  if is_directory(path):
    raise ValueError(
      f"{name} must be a file, not a directory. Received: {name}={path}"
    )
  try:
    if is_remote(path):
      temporary = f"{path}.tmp{os.getpid()}"
      with _gfile().GFile(temporary, "w") as opened:
        opened.write("")
      _gfile().remove(temporary)
    else:
      tempfile.TemporaryFile(dir=parent or ".").close()
  except Exception as error:
    raise ValueError(
      f"{name} must be a file that can be written. Received: {name}={path} "
      f"({error})"
    ) from error


# First characters of every local temporary file, for whoever sweeps them.
_TEMPORARY = ".writing-"


def _plain(value):
  if isinstance(value, (np.generic, np.ndarray)):
    return value.tolist()
  raise TypeError(f"{type(value).__name__} is not JSON")


def _gfile():
  import tensorflow as tf

  return tf.io.gfile

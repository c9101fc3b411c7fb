"""The folder of an export: written whole or not at all, never over a run."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from absl import logging

from tf_pcc import files, publishing

METADATA = "metadata.json"
FORMATS = ("saved_model", "litert")
# What programs put into a run's directory: launch/runs/opening.py lists it.
_RUN = (
  "audit",
  "canaries",
  "canaries.json",
  "checkpoints",
  "config.json",
  "logs",
  "metrics.jsonl",
  "summary.json",
  "tensorboard",
  "tokenizer.json",
)


def check_place(
  directory: str | os.PathLike, output: str | os.PathLike
) -> None:
  """Refuses an output whose writing would cost anything of a run.

  Args:
    directory: the run's directory.
    output: directory to write.

  Raises:
    ValueError: If output is the run's directory, holds it or is one of its
      files.
  """
  run, there = _absolute(directory), _absolute(output)
  inside = there.startswith(f"{run}/")
  own = inside and there[len(run) + 1 :].split("/")[0] in _RUN
  if own or there == run or run.startswith(f"{there}/"):
    raise ValueError(
      "--output must not be --workdir, a directory that holds it, or among the "
      f"run's own files. Received: output={output}, workdir={directory}"
    )


def check_output(output: str | os.PathLike, overwrite: bool) -> None:
  """Refuses to replace anything but an export.

  Args:
    output: directory to write.
    overwrite: whether an export may be replaced.

  Raises:
    FileExistsError: If there is something else, without `overwrite`.
    ValueError: If there is something else, with `overwrite`.
  """
  if not tf.io.gfile.exists(output) or _is_export(output):
    return
  if not overwrite:
    raise _exists(output)
  raise ValueError(
    "--overwrite replaces an earlier export and nothing else, and there is "
    f"no {METADATA} of one. Received: output={output}"
  )


def _exists(output):
  return FileExistsError(
    f"{output} exists already; give another --output, or --overwrite to "
    "replace an earlier export"
  )


def finished(
  output: str | os.PathLike, metadata: dict[str, Any]
) -> dict[str, Any]:
  """The metadata of an output that is this very export, and whole.

  Args:
    output: directory of an export.
    metadata: what the export is to be.

  Returns:
    What it is, a dict.

  Raises:
    FileExistsError: If it is another one.
  """
  found = files.read_json(files.join(output, METADATA))
  known = {name: found.get(name) for name in metadata}
  if known != metadata or found.get("files") != digests(output):
    raise _exists(output)
  logging.info("%s is finished: nothing was written", output)
  return found


def digests(output: str | os.PathLike) -> dict[str, str]:
  """Hashes of an export's files, without the metadata.

  Args:
    output: directory of an export.

  Returns:
    dict from name to SHA-256.
  """
  output, result = os.fspath(output), {}
  for folder, _, names in tf.io.gfile.walk(output):
    for name in names:
      path = files.join(folder, name)
      within = path[len(output.rstrip("/")) + 1 :]
      if within != METADATA:
        result[within] = hashlib.sha256(files.read_bytes(path)).hexdigest()
  return dict(sorted(result.items()))


def require_as_written(directory: str | os.PathLike) -> None:
  """Refuses an export whose files are not those that were written.

  Args:
    directory: of a SavedModel; one of others, without our metadata.json, needs
      regular files only.

  Raises:
    ValueError: If a file is damaged, missing, or a FIFO or a device.
  """
  if not files.is_remote(directory):
    for folder, _, names in os.walk(directory):
      for name in names:
        files.require_regular(files.join(folder, name))
  path = files.join(directory, METADATA)
  found = json_or_none(path)
  expected = found.get("files") if isinstance(found, dict) else None
  if not isinstance(expected, dict):
    return
  there = digests(directory)
  for name, digest in expected.items():
    require_digest(files.join(directory, name), there.get(name), digest)


def require_digest(path: str, found: str | None, expected: str) -> None:
  """Refuses a file of an export that is not as it was written.

  Args:
    path: its path, for the message.
    found: SHA-256 of its content, None if it is missing.
    expected: SHA-256 in metadata.json.

  Raises:
    ValueError: If they differ.
  """
  if found != expected:
    raise ValueError(
      f"{path} is not as it was written: export again, or restore a copy. "
      f"Received: SHA-256 {found}, {METADATA} has {expected}"
    )


def _absolute(path):
  """The path with links followed, to compare; a remote one as it is."""
  if "://" in path:
    return path.rstrip("/")
  return os.path.realpath(path)


def _is_export(output):
  """Whether a directory is what `export` wrote."""
  try:
    found = json_or_none(files.join(output, METADATA))
  except (ValueError, tf.errors.OpError):
    return False
  return isinstance(found, dict) and found.get("format") in FORMATS


def json_or_none(path: str, form: Any = Any) -> Any:
  """A JSON file's value, None where there is no file.

  Args:
    path: local or remote file.
    form: what must be in it, as of `tf_pcc.files.read_json`.

  Returns:
    The value.
  """
  if not tf.io.gfile.exists(path):
    return None
  return files.read_json(path, form=form)


def _beside(output):
  """Where an export is written, and where the one that it replaces waits."""
  output = os.fspath(output).rstrip("/")
  return f"{output}.partial", f"{output}.old"


def recover(output: str | os.PathLike) -> None:
  """Tidies up what a process that was killed has left.

  Args:
    output: directory that it wrote.
  """
  partial, old = _beside(output)
  if files.is_remote(output):
    publishing.resume(partial, output, METADATA)
  if tf.io.gfile.exists(partial):
    tf.io.gfile.rmtree(partial)
  if tf.io.gfile.exists(old):
    if tf.io.gfile.exists(output):
      tf.io.gfile.rmtree(old)
    else:
      tf.io.gfile.rename(old, output)


@contextlib.contextmanager
def directory(
  output: str | os.PathLike, require_mine: Callable[[], None]
) -> Iterator[str]:
  """A directory to fill, which becomes `output` when that went well.

  Args:
    output: directory to write; an earlier export is replaced.
    require_mine: as of `tf_pcc.locks.owned`.

  Yields:
    Its temporary name.
  """
  partial, old = _beside(output)
  try:
    tf.io.gfile.makedirs(partial)
    yield partial
    require_mine()
    if not files.is_remote(output):
      if tf.io.gfile.exists(output):
        tf.io.gfile.rename(output, old)
      tf.io.gfile.rename(partial, output)
      if tf.io.gfile.exists(old):
        tf.io.gfile.rmtree(old)
  except BaseException:
    if tf.io.gfile.exists(partial):
      tf.io.gfile.rmtree(partial)
    raise
  if files.is_remote(output):
    # What stops it leaves what `recover` goes on with.
    publishing.publish(partial, output, METADATA)

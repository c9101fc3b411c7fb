"""Files that are written whole or not at all."""

import os
import pathlib
import tempfile


def write_atomically(path, content, overwrite=False):
  """Write `content` under a temporary name beside `path`, then rename it.

  Args:
    path: Where to write; its folder is made when missing.
    content: str (written as UTF-8) or bytes.
    overwrite: Whether an existing file may be replaced; default False.

  Returns:
    The path, a pathlib.Path.

  Raises:
    FileExistsError: when `path` exists and `overwrite` is False.
  """
  path = pathlib.Path(path)
  refuse_existing([path], overwrite)
  path.parent.mkdir(parents=True, exist_ok=True)
  data = content.encode("utf-8") if isinstance(content, str) else content
  descriptor, temporary = tempfile.mkstemp(
    prefix=f".{path.name}.", dir=path.parent
  )
  try:
    with os.fdopen(descriptor, "wb") as stream:
      stream.write(data)
      stream.flush()
      os.fsync(stream.fileno())
    # mkstemp makes the file private; a report is as readable as any other.
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)
    os.replace(temporary, path)
  except BaseException:
    os.unlink(temporary)
    raise
  return path


def refuse_existing(paths, overwrite):
  """Raise FileExistsError if one of `paths` exists, unless `overwrite`."""
  existing = [str(path) for path in paths if pathlib.Path(path).exists()]
  if existing and not overwrite:
    raise FileExistsError(
      "will not write over what is there; pass overwrite=True (--overwrite on "
      f"the command line) or another folder. Received: {', '.join(existing)}"
    )

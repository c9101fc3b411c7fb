"""A remote folder takes its place: object storage cannot rename one at once.

Its files are moved one by one. Files in the folder that they come from tell how
far this is, and `resume` ends what a killed process had begun.
"""

import os

from tf_pcc import files

# Of the old content nothing is kept; all of it is gone.
_BEGUN, _MOVING = ".publishing-begun", ".publishing-moving"


def publish(
  partial: str | os.PathLike, output: str | os.PathLike, last: str
) -> None:
  """Moves a remote folder; what is at its new place is removed before.

  Args:
    partial: the folder; nobody else writes to it or to `output`.
    output: its new place.
    last: name of the file in it that comes last, and tells who reads `output`
      that it is whole.
  """
  from tensorflow.io import gfile

  if not gfile.exists(files.join(partial, _MOVING)):
    _mark(partial, _BEGUN)
    if gfile.exists(output):
      whole = files.join(output, last)
      if gfile.exists(whole):
        gfile.remove(whole)
      gfile.rmtree(output)
    _mark(partial, _MOVING)
  if gfile.exists(files.join(partial, _BEGUN)):
    # Alone it would have the new content removed.
    gfile.remove(files.join(partial, _BEGUN))
  names = _names(partial) - {_BEGUN, _MOVING}
  names = sorted(names, key=lambda name: (name == last, name))
  for name in names:
    target = files.join(output, name)
    gfile.makedirs(os.path.dirname(target))
    gfile.rename(files.join(partial, name), target, overwrite=True)
  gfile.rmtree(partial)


def resume(
  partial: str | os.PathLike, output: str | os.PathLike, last: str
) -> None:
  """Ends what `publish` had begun with the same arguments, if it had.

  Args:
    partial: as of `publish`; it may be missing.
    output: as of `publish`.
    last: as of `publish`.
  """
  from tensorflow.io import gfile

  if any(gfile.exists(files.join(partial, m)) for m in (_BEGUN, _MOVING)):
    publish(partial, output, last)


def _mark(partial, name):
  """Writes a file: an object is there when it is whole."""
  from tensorflow.io import gfile

  with gfile.GFile(files.join(partial, name), "w") as file:
    file.write(name)


def _names(folder):
  """The paths of all files, as they are in the folder."""
  from tensorflow.io import gfile

  folder = os.fspath(folder).rstrip("/")
  return {
    files.join(place, name)[len(folder) + 1 :]
    for place, _, names in gfile.walk(folder)
    for name in names
  }

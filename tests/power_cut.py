"""What a disk holds after a power cut, simulated.

A file keeps the content, and a folder the names, that it had when it was last
synced; what was never synced is empty. Calls of `os.fsync` are recorded; at
every operation on files both images that a cut may leave are written down.
"""

import hashlib
import os
import pathlib
import shutil
import stat


def digest(folder):
  """str, the same for folders of the same names and contents."""
  found = hashlib.sha256()
  for path in sorted(pathlib.Path(folder).rglob("*")):
    found.update(str(path.relative_to(folder)).encode() + b"\0")
    if path.is_file():
      content = path.read_bytes()
      found.update(f"{len(content)}\0".encode() + content)
  return found.hexdigest()


class Disk:
  """Records what is on the disk for good under a folder.

  Args:
    root: folder, on the disk as it is now.
    images: folder for the images, outside of `root`.
  """

  def __init__(self, root, images):
    self._root, self._images = pathlib.Path(root), pathlib.Path(images)
    self._contents, self._names, self._open = {}, {}, []
    self._sync = os.fsync
    self.cuts = []
    for path in (self._root, *self._root.rglob("*")):
      descriptor = os.open(path, os.O_RDONLY)
      self._keep(descriptor)
      os.close(descriptor)

  def install(self, monkeypatch, *owners):
    """Records from now on.

    Args:
      monkeypatch: pytest's.
      *owners: pairs (object, name) of functions after which there is a cut.
    """

    def sync(descriptor):
      self.cut()
      self._sync(descriptor)
      self._keep(descriptor)
      self.cut()

    monkeypatch.setattr(os, "fsync", sync)
    for owner, name in owners:
      monkeypatch.setattr(owner, name, self._cutting(getattr(owner, name)))

  def cut(self):
    """Writes down the two images of a cut at this moment.

    With the names of the last sync, and with those of now: file systems that
    write names before contents leave empty files.
    """
    for names in ("synced", "now"):
      image = self._images / f"{len(self.cuts):04d}"
      self._write(self._root, image, names)
      self.cuts.append(image)

  def _cutting(self, function):
    def called(*arguments, **options):
      result = function(*arguments, **options)
      self.cut()
      return result

    return called

  def _keep(self, descriptor):
    # An open file's number is not given to another.
    self._open.append(os.dup(descriptor))
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
      entries = os.scandir(descriptor)
      self._names[found.st_ino] = {e.name: e.inode() for e in entries}
    else:
      again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
      with os.fdopen(again, "rb") as file:
        self._contents[found.st_ino] = file.read()

  def _write(self, folder, image, names):
    number = folder.stat().st_ino
    if names == "synced":
      entries = self._names.get(number, {})
    else:
      entries = {p.name: p.stat().st_ino for p in folder.iterdir()}
    image.mkdir(parents=True)
    places = self._places()
    for name, inode in entries.items():
      place = places.get(inode)
      if place and place.is_dir():
        self._write(place, image / name, names)
      elif inode in self._names:
        # A folder that is gone since; its names are not.
        (image / name).mkdir()
      else:
        (image / name).write_bytes(self._contents.get(inode, b""))

  def _places(self):
    return {p.stat().st_ino: p for p in self._root.rglob("*")}

  def close(self):
    """Forgets all."""
    for descriptor in self._open:
      os.close(descriptor)
    shutil.rmtree(self._images, ignore_errors=True)

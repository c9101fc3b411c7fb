"""Where the recordings are that a corpus names, and which ones are refused.

A written path is looked for as it is in each folder, then with its other
spellings: `~` for the home directory, `\\` for `/`, without blanks at its ends,
Unicode composed or decomposed (macOS decomposes), and last with its letters in
another case, where only one file has such a name.

Refused, with the reason: URLs, what is no regular file (a FIFO would block for
ever), system files, and what lies outside of the folder although the path is
relative to it, by `..` or by a link. An absolute path says itself where it
leads, and is followed.
"""

import functools
import os
import stat
import unicodedata
from collections.abc import Iterable

_KINDS = (
  (stat.S_ISDIR, "a folder"),
  (stat.S_ISFIFO, "a FIFO"),
  (stat.S_ISSOCK, "a socket"),
  (stat.S_ISCHR, "a device"),
  (stat.S_ISBLK, "a device"),
)
_SYSTEM = ("/proc/", "/sys/", "/dev/")
_SHOWN = 200


class Finder:
  """Finds recordings in the folders of a corpus.

  Args:
    folders: Folders that paths may be relative to, the first one first.
    allow_outside: Whether a relative path or a link may lead out of them.
      Default False.
  """

  def __init__(
    self, folders: Iterable[str | os.PathLike], allow_outside: bool = False
  ):
    self._folders = list(dict.fromkeys(os.fspath(f) for f in folders))
    self._allow_outside = allow_outside
    # Of this corpus alone: another one may be read after files have changed.
    self._real_folder = functools.cache(os.path.realpath)
    self._listing = functools.cache(_listing)
    self._roots = [_inside(os.path.realpath(f)) for f in self._folders]

  def find(self, written: str) -> tuple[str, str]:
    """Where a written path leads.

    Args:
      written: The path as the corpus has it.

    Returns:
      (path, "") or ("", the reason why there is none to be read). The path of a
      broken link is returned: reading it says that it is broken.
    """
    if "://" in written:
      return "", f"a URL is not fetched, download it: {shown(written)}"
    for spelling in _spellings(written):
      for folder in self._folders:
        path = os.path.join(folder, spelling)
        if os.path.lexists(path):
          reason = self.refusal(path, os.path.isabs(spelling))
          return ("", reason) if reason else (path, "")
    for folder in self._folders:
      path = self._in_another_case(folder, written)
      if path:
        reason = self.refusal(path, os.path.isabs(written))
        return ("", reason) if reason else (path, "")
    places = dict.fromkeys(os.path.join(f, written) for f in self._folders)
    return "", "not at " + " or ".join(map(shown, places))

  def refusal(self, path: str, absolute: bool = False) -> str:
    """Why a path that exists must not be read.

    Args:
      path: Local path.
      absolute: Whether the corpus has it as an absolute path. Default False.

    Returns:
      The reason, or "" where it may be read.
    """
    real = self._real(path)
    if real.startswith(_SYSTEM):
      return f"a file of the system is not read: {shown(path)}"
    free = absolute or self._allow_outside
    if not free and not any(map(real.startswith, self._roots)):
      if not os.path.exists(path):
        return f"a broken link to {shown(real)}"
      return (
        f"it leads out of the corpus's folder, to {shown(real)} "
        "(--allow_outside permits that)"
      )
    try:
      mode = os.stat(path).st_mode
    except OSError:
      return ""
    if stat.S_ISREG(mode):
      return ""
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")
    return f"not a regular file but {kind}: {shown(path)}"

  def _in_another_case(self, folder, written):
    """The one path that equals a written one but for case, or ""."""
    parts = written.strip().replace("\\", "/").split("/")
    path = "/" if not parts[0] else folder
    for part in parts:
      if part in ("", ".", ".."):
        path = os.path.join(path, part)
        continue
      names = self._listing(path).get(same(part), ())
      if part in names:
        names = (part,)
      if len(names) != 1:
        return ""
      path = os.path.join(path, names[0])
    return path

  def _real(self, path):
    if os.path.islink(path):
      return os.path.realpath(path)
    folder, name = os.path.split(path)
    if name in ("", ".", ".."):
      return os.path.realpath(path)
    return os.path.join(self._real_folder(folder or os.curdir), name)


def shown(path: str | os.PathLike) -> str:
  """A path for messages: shortened, and readable where it is not UTF-8.

  Args:
    path: Any path.

  Returns:
    The text.
  """
  text = os.fsencode(path).decode(errors="backslashreplace")
  return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def same(name: str) -> str:
  """A key that equal names share.

  Args:
    name: A file's name.

  Returns:
    The name, Unicode composed and case folded.
  """
  return unicodedata.normalize("NFC", name).casefold()


def _spellings(written):
  found = [written]
  if written.startswith("~"):
    found.append(os.path.expanduser(written))
  found += [spelling.strip() for spelling in found]
  found += [spelling.replace("\\", "/") for spelling in found]
  for form in ("NFC", "NFD"):
    found += [unicodedata.normalize(form, spelling) for spelling in found]
  return [spelling for spelling in dict.fromkeys(found) if spelling]


def _listing(folder):
  """The names in a folder by what equal names have in common."""
  found = {}
  try:
    for name in os.listdir(folder):
      found.setdefault(same(name), []).append(name)
  except OSError:
    pass
  return found


def _inside(folder):
  return folder.rstrip("/") + "/"

"""Folders of recordings with transcripts in files beside them.

Hidden files, whose names begin with a dot (.DS_Store, ._x.flac), and hidden
folders are passed over.
"""

import collections
import os

from tf_pcc.data import audio
from tf_pcc.data.lines import read_lines
from tf_pcc.data.manifests import corpus_of
from tf_pcc.data.text import normalize
from tf_pcc.data.utterances import Utterance

_EXTENSIONS = tuple(f".{name}" for name in audio.FORMATS)


def read_librispeech(root):
  """The corpus in a folder of `*.trans.txt` files and recordings.

  Args:
    root: Local folder. At any depth, `*.trans.txt` files have lines `ID TEXT`,
      and `ID.flac` (or .mp3, .wav, .ogg) is the recording.

  Returns:
    A `Corpus`.

  Raises:
    ValueError: If an id occurs twice, or a file or folder cannot be read.
  """
  texts, recordings = [], collections.defaultdict(list)
  for folder, names in walk(root):
    for name in names:
      path = os.path.join(folder, name)
      stem, extension = os.path.splitext(name)
      if name.endswith(".trans.txt"):
        texts.extend(_trans_lines(path))
      elif extension.lower() in _EXTENSIONS:
        recordings[stem].append(path)
  utterances = []
  for key, text in texts:
    speaker = key.split("-")[0] if "-" in key else ""
    for path in recordings.get(key, [""]):
      utterances.append(Utterance(key, path, text, speaker))
  for key in recordings.keys() - dict(texts).keys():
    utterances.extend(Utterance(key, path, "") for path in recordings[key])
  return corpus_of(root, utterances)


def walk(root):
  """Yields the folders below a folder, each with its files, in order.

  Args:
    root: Local folder. Links are followed.

  Yields:
    (path of the folder, sorted names of its files), nothing hidden.

  Raises:
    ValueError: If a folder cannot be read.
  """

  def refuse(error):
    raise ValueError(
      f"`path` must be a folder that can be read: {error}. "
      f"Received: path={root}"
    ) from error

  for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    yield folder, sorted(name for name in names if not name.startswith("."))


def _trans_lines(path):
  for line in read_lines(path):
    if line.strip():
      key, *text = line.split(maxsplit=1)
      yield key, normalize("".join(text))

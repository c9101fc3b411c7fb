"""Corpora as they are: folders and manifests of recordings with transcripts.

`read_corpus` finds out what a path is. A folder, the first of these:

| it holds | it is |
|---|---|
| `manifest.tsv` | that manifest, because someone chose its rows |
| `wav.scp` and `text` | a Kaldi data directory (`tf_pcc.data.kaldi`) |
| `metadata.csv`, `metadata.jsonl` | LJSpeech (`tf_pcc.data.ljspeech`) where \
fields are parted by `|`, else a manifest |
| .parquet files or a saved `Dataset` | Hugging Face (`tf_pcc.data.hf`) |
| recordings | transcripts are in files beside them (`tf_pcc.data.folders`) |

A file, by its extension, with or without .gz:

| extension | it is |
|---|---|
| .tsv, .csv | a table (`tf_pcc.data.tables`), or LJSpeech's |
| .parquet, .arrow | Hugging Face |
| .json, .jsonl, .manifest | NeMo (`tf_pcc.data.nemo`) or a CutSet of lhotse \
(`tf_pcc.data.lhotse`) |

And `tfds:librispeech/CONFIG/SPLIT`: TensorFlow Datasets, if it is installed.

A recording that is not as long as its corpus states is skipped when it is read
(`tf_pcc.data.segments` has the tolerance). Paths in a manifest are relative to
its folder or, failing that, to the working directory; `tf_pcc.data.paths` says
how they may be spelled and which are refused. Text files are UTF-8.
"""

import os

from absl import logging

from tf_pcc.data import (
  folders,
  hf,
  kaldi,
  lhotse,
  ljspeech,
  nemo,
  objects,
  tables,
  tfds,
)
from tf_pcc.data.manifests import Reading, corpus_of_rows
from tf_pcc.data.utterances import Corpus

_SHOWN = 5
_MANIFESTS = ("manifest.tsv", "metadata.csv", "metadata.jsonl")


def read_corpus(
  path: str | os.PathLike,
  max_missing_share: float = 0.05,
  reading: Reading | None = None,
) -> Corpus:
  """Lists the utterances of a corpus; the module says of which kinds.

  Transcripts without audio and audio without a transcript are listed, counted
  and logged, and left out.

  Args:
    path: A folder, a manifest file, or "tfds:librispeech/CONFIG/SPLIT".
    max_missing_share: Error if more than this share of all ids lacks its audio
      or its transcript. Default 0.05.
    reading: A `manifests.Reading`. Default: its defaults.

  Returns:
    A `Corpus`.

  Raises:
    ValueError: If there is nothing at `path`, no utterance in it, a line
      cannot be used, an id occurs twice, or too much is missing.
  """
  path = os.path.expanduser(os.fspath(path))
  reading = reading or Reading()
  if path.startswith("tfds:"):
    corpus = tfds.read(path, reading)
  elif not os.path.exists(path):
    raise ValueError(
      "`path` must be an existing folder or manifest, or tfds:librispeech/"
      f"CONFIG/SPLIT. Received: path={path}"
    )
  elif os.path.isdir(path):
    corpus = _folder(path, reading)
  else:
    corpus = _manifest(path, path, reading)
  return _checked(corpus, max_missing_share)


def _folder(path, reading):
  for name in _MANIFESTS:
    manifest = os.path.join(path, name)
    if os.path.exists(manifest):
      return _manifest(path, manifest, reading)
  if kaldi.is_directory(path):
    rows = kaldi.read_rows(path)
    return corpus_of_rows(path, rows, reading, [path, os.getcwd()])
  if hf.is_dataset(path):
    return hf.read(path, reading)
  return corpus_of_rows(path, folders.read_rows(path, reading), reading)


def _manifest(root, path, reading):
  extension = tables.extension(path)
  if extension in hf.EXTENSIONS:
    return hf.read(path, reading)
  folder = os.path.dirname(path)
  places = [folder]
  if extension == ".csv" and ljspeech.is_metadata(path):
    rows = ljspeech.read_rows(path)
    places = [os.path.join(folder, "wavs"), folder]
  elif extension in tables.DELIMITERS:
    rows = tables.read_rows(path)
    places.append(os.path.join(folder, "clips"))
  elif extension in objects.EXTENSIONS:
    found = list(objects.read_objects(path))
    kind = lhotse if found and lhotse.is_cut(found[0][0]) else nemo
    rows = kind.rows(found)
  else:
    raise ValueError(
      "`path` must be a folder or a .tsv, .csv, .json, .jsonl, .manifest, "
      ".parquet or .arrow file, perhaps with .gz; archives (.tar) are unpacked "
      f"first. Received: path={path}"
    )
  return corpus_of_rows(root, rows, reading, [*places, os.getcwd()])


def _checked(corpus, max_missing_share):
  for what, ids in (
    ("transcripts without audio", corpus.missing_audio),
    ("recordings without a transcript", corpus.missing_text),
  ):
    if ids:
      shown = ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
      logging.warning("%s: %d %s (%s)", corpus.root, len(ids), what, shown)
  missing = len(corpus.missing_audio) + len(corpus.missing_text)
  if not len(corpus) + missing:
    raise ValueError(
      f"`path` must hold transcribed recordings; none found. "
      f"Received: path={corpus.root}"
    )
  share = missing / (len(corpus) + missing)
  if share > max_missing_share or not len(corpus):
    raise ValueError(
      "At least one utterance must be whole, and no more than "
      "`max_missing_share` may lack their audio or their transcript: repair "
      f"the corpus, or allow more. Received: {len(corpus)} whole utterances, "
      f"{_counted(corpus, 'audio', 'transcripts without audio')}, "
      f"{_counted(corpus, 'text', 'recordings without a transcript')}, "
      f"path={corpus.root}, max_missing_share={max_missing_share}"
    )
  logging.info("%s: %d utterances", corpus.root, len(corpus))
  return corpus


def _counted(corpus, lacks, what):
  """How many lack something, and the first of them with their reasons."""
  skips = [skip for skip in corpus.skips if skip.lacks == lacks]
  shown = "; ".join(f"{skip.id}, {skip.reason}" for skip in skips[:_SHOWN])
  return f"{len(skips)} {what}" + (f" ({shown})" if shown else "")

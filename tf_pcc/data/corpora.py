"""Corpora as they are: folders and manifests of recordings with transcripts.

`read_corpus` finds out what a path is:

- a folder with a `manifest.tsv`: that manifest, because someone chose its rows
- another folder: the LibriSpeech layout: `*.trans.txt` files of lines `ID TEXT`
  and `ID.flac` (or .mp3, .wav, .ogg), at any depth
- a `.tsv` or `.csv` file: a table with the columns path, text and perhaps id,
  speaker and seconds; `tf_pcc.data.tables` has its rules and other names of
  these columns, those of Common Voice among them
- a `.json`, `.jsonl` or `.manifest` file: NeMo, a JSON object a line (or an
  array of them) with audio_filepath, text and perhaps offset, duration,
  channel_selector, speaker, id; `tf_pcc.data.nemo` says more
- `tfds:librispeech/CONFIG/SPLIT`: TensorFlow Datasets, if it is installed

A recording that is not as long as its corpus states is skipped when it is read
(`tf_pcc.data.segments` has the tolerance). Paths in a manifest are relative to
its folder or, failing that, to the working directory. Hidden files are passed
over. Text files are UTF-8. Transcripts go through `tf_pcc.data.text.normalize`.
"""

import os

from absl import logging

from tf_pcc.data import folders, nemo, tables, tfds
from tf_pcc.data.manifests import corpus_of_rows

_SHOWN = 5


def read_corpus(path, max_missing_share=0.05):
  """Lists the utterances of a corpus; the module says of which kinds.

  Transcripts without audio and audio without a transcript are listed, counted
  and logged, and left out.

  Args:
    path: A folder, a manifest file, or "tfds:librispeech/CONFIG/SPLIT".
    max_missing_share: Error if more than this share of all ids lacks its audio
      or its transcript. Default 0.05.

  Returns:
    A `Corpus`.

  Raises:
    ValueError: if there is nothing at `path`, no utterance in it, a line
      cannot be used, an id occurs twice, or too much is missing.
  """
  path = os.fspath(path)
  extension = os.path.splitext(path)[1].lower()
  if path.startswith("tfds:"):
    corpus = tfds.read(path)
  elif not os.path.exists(path):
    raise ValueError(
      "`path` must be an existing folder or manifest, or tfds:librispeech/"
      f"CONFIG/SPLIT. Received: path={path}"
    )
  elif os.path.isdir(path):
    corpus = _folder(path)
  elif extension in tables.DELIMITERS:
    corpus = _table(path, path)
  elif extension in nemo.EXTENSIONS:
    rows = nemo.read_rows(path)
    corpus = corpus_of_rows(path, rows, [os.path.dirname(path), os.getcwd()])
  else:
    raise ValueError(
      "`path` must be a folder or a .tsv, .csv, .json, .jsonl or .manifest "
      f"file. Received: path={path}"
    )
  return _checked(corpus, max_missing_share)


def _folder(path):
  manifest = os.path.join(path, "manifest.tsv")
  if os.path.exists(manifest):
    return _table(path, manifest)
  return folders.read_librispeech(path)


def _table(root, path):
  rows = tables.read_rows(path)
  folder = os.path.dirname(path)
  clips = os.path.join(folder, "clips")
  return corpus_of_rows(root, rows, [folder, clips, os.getcwd()])


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
  unfound = [
    f"{key}, not at {places}" if places else key
    for key, places in zip(corpus.missing_audio, corpus.looked_for)
  ]
  share = missing / (len(corpus) + missing)
  if share > max_missing_share or not len(corpus):
    raise ValueError(
      f"{corpus.root} has {len(corpus.missing_audio)} transcripts without audio"
      f" ({'; '.join(unfound[:_SHOWN])}) and "
      f"{len(corpus.missing_text)} recordings without a transcript "
      f"({', '.join(corpus.missing_text[:_SHOWN])}) beside {len(corpus)} whole "
      f"utterances. Received: max_missing_share={max_missing_share}"
    )
  logging.info("%s: %d utterances", corpus.root, len(corpus))
  return corpus

"""Corpora as they are: folders and manifests of recordings with transcripts.

`read_corpus` finds out what a path is:

- a folder with a `manifest.tsv`: that manifest, because someone chose its rows
- another folder: the LibriSpeech layout: `*.trans.txt` files of lines `ID TEXT`
  and `ID.flac` (or .mp3, .wav, .ogg), at any depth
- a `.tsv` file: a manifest with the columns id, path, text and perhaps speaker
  and seconds
- a `.json`, `.jsonl` or `.manifest` file: NeMo, a JSON object a line with
  audio_filepath, text and perhaps duration, speaker, id
- `tfds:librispeech/CONFIG/SPLIT`: TensorFlow Datasets, if it is installed

Paths in a manifest are relative to the manifest. Transcripts go through
`tf_pcc.data.text.normalize`.
"""

import collections
import csv
import json
import math
import os

from absl import logging

from tf_pcc.data import audio, tfds
from tf_pcc.data.records import Records
from tf_pcc.data.text import normalize
from tf_pcc.data.utterances import Corpus, Utterance

_EXTENSIONS = tuple(f".{name}" for name in audio.FORMATS)
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
  if path.startswith("tfds:"):
    corpus = tfds.read(path)
  elif not os.path.exists(path):
    raise ValueError(
      "`path` must be an existing folder or manifest, or tfds:librispeech/"
      f"CONFIG/SPLIT. Received: path={path}"
    )
  elif os.path.isdir(path):
    manifest = os.path.join(path, "manifest.tsv")
    if os.path.exists(manifest):
      corpus = _manifest(path, _tsv_rows(manifest), path)
    else:
      corpus = _librispeech(path)
  elif path.endswith(".tsv"):
    corpus = _manifest(path, _tsv_rows(path), os.path.dirname(path))
  elif path.endswith((".json", ".jsonl", ".manifest")):
    corpus = _manifest(path, _nemo_rows(path), os.path.dirname(path))
  else:
    raise ValueError(
      "`path` must be a folder or a .tsv, .json, .jsonl or .manifest file. "
      f"Received: path={path}"
    )
  return _checked(corpus, max_missing_share)


def read_texts(path, ids=False):
  """The transcripts of a corpus, of a records directory, or of a text file.

  Args:
    path: Where they are.
    ids: Whether each line of a .txt file begins with an id. Default False.

  Returns:
    List of normalised strings.

  Raises:
    ValueError: if there is nothing to read at `path`.
  """
  path = os.fspath(path)
  if os.path.exists(os.path.join(path, "index.json")):
    return list(Records(path).texts)
  if not path.endswith(".txt"):
    return [utterance.text for utterance in read_corpus(path)]
  try:
    lines = list(_lines(path))
  except OSError as error:
    raise ValueError(
      f"`path` must be a readable file: {error}. Received: path={path}"
    ) from error
  if ids:
    lines = [line.partition(" ")[2] for line in lines]
  return [normalize(line) for line in lines]


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
      f"{corpus.root} has {len(corpus.missing_audio)} transcripts without audio"
      f" ({', '.join(corpus.missing_audio[:_SHOWN])}) and "
      f"{len(corpus.missing_text)} recordings without a transcript "
      f"({', '.join(corpus.missing_text[:_SHOWN])}) beside {len(corpus)} whole "
      f"utterances. Received: max_missing_share={max_missing_share}"
    )
  logging.info("%s: %d utterances", corpus.root, len(corpus))
  return corpus


def _librispeech(root):
  texts, speakers, recordings, repeated = {}, {}, {}, []
  for folder, folders, names in os.walk(root, followlinks=True):
    folders.sort()
    for name in sorted(names):
      path = os.path.join(folder, name)
      stem, extension = os.path.splitext(name)
      if name.endswith(".trans.txt"):
        for key, text in _trans_lines(path):
          if key in texts:
            repeated.append(key)
          texts[key] = text
          speakers[key] = key.split("-")[0] if "-" in key else ""
      elif extension.lower() in _EXTENSIONS:
        if stem in recordings:
          repeated.append(stem)
        recordings[stem] = path
  _no_repeats(repeated, root)
  return _assemble(root, texts, recordings, speakers, {})


def _lines(path):
  """The lines of a text file; one that is not UTF-8 is named."""
  with open(path, encoding="utf-8", errors="surrogateescape") as file:
    for number, line in enumerate(file, 1):
      data = line.encode(errors="surrogateescape")
      try:
        yield data.decode()
      except UnicodeDecodeError as error:
        near = data[max(error.start - 20, 0) : error.end + 20]
        raise ValueError(
          f"Line {number} of {path} must be UTF-8. Received: line={near!r}"
        ) from error


def _trans_lines(path):
  for line in _lines(path):
    if line.strip():
      key, _, text = line.strip().partition(" ")
      yield key, normalize(text)


def _tsv_rows(path):
  rows = csv.DictReader(
    _lines(path), delimiter="\t", quoting=csv.QUOTE_NONE, strict=True
  )
  try:
    missing = {"id", "path", "text"} - set(rows.fieldnames or ())
    if missing:
      raise ValueError(
        "A manifest must have the columns id, path and text. "
        f"Received: columns={rows.fieldnames}, path={path}"
      )
    for row in rows:
      where = f"Line {rows.line_num} of {path}"
      yield {
        "id": _string(where, "id", row["id"]),
        "path": _string(where, "path", row["path"]),
        "text": _string(where, "text", row["text"], empty=True),
        "speaker": row.get("speaker") or "",
        "seconds": _seconds(where, "seconds", row.get("seconds") or None),
      }
  except csv.Error as error:
    raise ValueError(
      f"Line {rows.line_num} must be tab-separated columns ({error}). "
      f"Received: path={path}"
    ) from error


def _nemo_rows(path):
  for number, line in enumerate(_lines(path), 1):
    if not line.strip():
      continue
    where = f"Line {number} of {path}"
    try:
      row = json.loads(line)
      recording, text = row["audio_filepath"], row["text"]
    except (ValueError, KeyError, TypeError) as error:
      raise ValueError(
        f"{where} must be a JSON object with audio_filepath and text "
        f"({error!r}). Received: line={line.strip()[:80]}"
      ) from error
    recording = _string(where, "audio_filepath", recording)
    key = row.get("id", os.path.splitext(recording)[0])
    speaker = row.get("speaker")
    yield {
      "id": _string(where, "id", _name(key)),
      "path": recording,
      "text": _string(where, "text", text, empty=True),
      "speaker": _string(
        where, "speaker", "" if speaker is None else _name(speaker), empty=True
      ),
      "seconds": _seconds(where, "duration", row.get("duration")),
    }


def _name(value):
  """Corpora number their speakers and utterances too."""
  return str(value) if type(value) is int else value


def _string(where, field, value, empty=False):
  if not isinstance(value, str) or not (value or empty):
    kind = "a string" if empty else "a string that is not empty"
    raise ValueError(
      f"{where}: `{field}` must be {kind}. Received: {field}={value!r}"
    )
  return value


def _seconds(where, field, value):
  if value is None:
    return None
  try:
    seconds = math.nan if isinstance(value, bool) else float(value)
  except (ValueError, TypeError, OverflowError):
    seconds = math.nan
  if not 0 <= seconds < math.inf:
    raise ValueError(
      f"{where}: `{field}` must be a finite number of seconds, 0 or more. "
      f"Received: {field}={value!r}"
    )
  return seconds


def _manifest(root, rows, folder):
  rows = list(rows)
  counts = collections.Counter(row["id"] for row in rows)
  _no_repeats([key for key, count in counts.items() if count > 1], root)
  recordings = {}
  for row in rows:
    path = os.path.join(folder, row["path"])
    if os.path.exists(path):
      recordings[row["id"]] = path
  return _assemble(
    root,
    {row["id"]: normalize(row["text"]) for row in rows},
    recordings,
    {row["id"]: row["speaker"] for row in rows},
    {row["id"]: row["seconds"] for row in rows},
  )


def _assemble(root, texts, recordings, speakers, seconds):
  spoken = {key for key, text in texts.items() if text}
  return Corpus(
    name=os.path.basename(os.path.normpath(root)),
    root=root,
    utterances=tuple(
      Utterance(
        id=key,
        path=recordings[key],
        text=texts[key],
        speaker=speakers.get(key, ""),
        seconds=seconds.get(key),
      )
      for key in sorted(spoken & recordings.keys())
    ),
    missing_audio=tuple(sorted(texts.keys() - recordings.keys())),
    missing_text=tuple(sorted(recordings.keys() - spoken)),
  )


def _no_repeats(repeated, root):
  if repeated:
    raise ValueError(
      f"Utterance ids must be unique in {root}. "
      f"Received: repeated={sorted(set(repeated))[:_SHOWN]}"
    )

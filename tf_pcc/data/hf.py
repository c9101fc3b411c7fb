"""Data sets of Hugging Face: saved to disk (Arrow), or Parquet files.

Needs pyarrow (extra `hf`), not `datasets`, and downloads nothing. A path is

- a folder of `Dataset.save_to_disk`, with state.json,
- a folder of .parquet files, all of one split, or with them in `data`,
- a .parquet or .arrow file; of NAME-00000-of-00008.parquet all eight are read.

The audio column is the one that the schema calls Audio, or a struct with the
fields bytes and path. The text is in the first of the columns text, sentence,
transcript and transcription; perhaps there are id, and speaker, speaker_id or
client_id. Utterances keep the order of the rows.
"""

import collections
import dataclasses
import glob
import json
import os
import re
from typing import Any

from tf_pcc import extras, files
from tf_pcc.data import audio, manifests, tables
from tf_pcc.data.manifests import Reading, Row, corpus_of_rows
from tf_pcc.data.paths import Finder
from tf_pcc.data.utterances import Corpus, Utterance

EXTENSIONS = (".parquet", ".arrow")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def is_dataset(folder: str | os.PathLike) -> bool:
  """Whether a folder holds a saved data set or Parquet files.

  Args:
    folder: A local folder.

  Returns:
    bool.
  """
  return os.path.isfile(os.path.join(folder, "state.json")) or bool(
    _parquet(folder)
    or os.path.isfile(os.path.join(folder, "dataset_dict.json"))
  )


def read(path: str | os.PathLike, reading: Reading) -> Corpus:
  """Lists the utterances of a data set.

  Args:
    path: Local folder or file; see the module.
    reading: A `manifests.Reading`.

  Returns:
    A `Corpus`.

  Raises:
    ValueError: If it is no data set with an audio and a text column.
    ImportError: If pyarrow is not installed.
  """
  pyarrow = extras.load("pyarrow", "A data set of Hugging Face", "hf")
  parts = _files(path)
  folder = path if os.path.isdir(path) else os.path.dirname(path)
  finder = Finder([folder, os.getcwd()], reading.allow_outside)
  try:
    by_part = [list(_rows(part, finder)) for part in parts]
  except (pyarrow.ArrowException, OSError, LookupError) as error:
    raise ValueError(
      f"`path` must be a data set as `datasets` writes it ({error}). "
      f"Received: path={path}"
    ) from error
  found = [item for part in by_part for item in part]
  counts = list(map(len, by_part))
  rows = _with_ids(found)
  corpus = corpus_of_rows(path, rows, reading)
  order = {row.id: number for number, row in enumerate(rows)}
  utterances = sorted(corpus.utterances, key=lambda item: order[item.id])
  # Where the sound of each utterance is: a row, or None for a file.
  places = [
    None if found[order[u.id]].in_file else order[u.id] for u in utterances
  ]
  reader = _Reader(parts, counts, utterances, places)
  return dataclasses.replace(
    corpus, utterances=tuple(utterances), reader=reader
  )


@dataclasses.dataclass(frozen=True)
class _Reader:
  """Reads the waveforms of rows; see `Corpus.reader`."""

  parts: list[Any]
  counts: list[int]
  utterances: list[Utterance]
  places: list[int | None]

  def __call__(self, start, stop, sample_rate):
    utterances, places = self.utterances[start:stop], self.places[start:stop]
    wanted = [place for place in places if place is not None]
    sounds = _sounds(self.parts, self.counts, wanted)
    for utterance, place in zip(utterances, places, strict=True):
      if place is None:
        yield utterance.load_or_error(sample_rate)
        continue
      try:
        waveform, rate = audio.decode(next(sounds))
        yield audio.resample(waveform, rate, sample_rate)
      except ValueError as error:
        yield ValueError(f"{error} Received: path={utterance.path}")

  def part(self, start, stop):
    return dataclasses.replace(
      self,
      utterances=self.utterances[start:stop],
      places=self.places[start:stop],
    )


@dataclasses.dataclass(frozen=True)
class _Found:
  """A row, the name that it suggests, and whether its sound is in a file."""

  row: Row
  name: str
  in_file: bool


def _rows(part, finder):
  columns = _columns(part)
  for number, row in enumerate(_read(part, columns)):
    where = f"Row {number} of {part}"
    written = row[columns["audio"]]
    path, refused = f"{part}#{number}", ""
    if not written["there"]:
      path, refused = "", "the row has no sound"
      if written["path"]:
        path, refused = finder.find(written["path"])
    text = row[columns["text"]]
    if text is not None:
      text = manifests.string(where, columns["text"], text, empty=True)
    yield _Found(
      Row(
        where,
        path,
        text,
        id=_text(row.get(columns["id"])),
        speaker=_text(row.get(columns["speaker"])),
        refused=refused,
      ),
      os.path.splitext(os.path.basename(written["path"] or ""))[0],
      not written["there"],
    )


def _with_ids(found):
  """Rows with ids: their own, else of their files, else their numbers."""
  for names in (
    [item.row.id for item in found],
    [item.name for item in found],
    [f"{number:07d}" for number in range(len(found))],
  ):
    if "" not in names and max(collections.Counter(names).values()) == 1:
      break
  return [
    dataclasses.replace(item.row, id=name)
    for item, name in zip(found, names, strict=True)
  ]


def _files(path):
  """The files of a data set, in order."""
  if os.path.isdir(path):
    state = os.path.join(path, "state.json")
    if os.path.exists(state):
      names = files.read_json(state)["_data_files"]
      return [os.path.join(path, name["filename"]) for name in names]
    listing = os.path.join(path, "dataset_dict.json")
    if os.path.exists(listing):
      raise ValueError(
        "`path` must be one split of a data set: name its folder. Received: "
        f"path={path}, splits={files.read_json(listing)['splits']}"
      )
    found = _parquet(path)
    splits = {_SHARD.sub("", os.path.splitext(name)[0]) for name in found}
    if len(splits) > 1 and all(
      _SHARD.search(os.path.splitext(name)[0]) for name in found
    ):
      raise ValueError(
        "`path` must be one split of a data set: name one of its files. "
        f"Received: splits={sorted(splits)}"
      )
    return found
  stem, extension = os.path.splitext(path)
  if not _SHARD.search(stem):
    return [path]
  pattern = glob.escape(_SHARD.sub("", stem)) + "-*-of-*" + extension
  return sorted(glob.glob(pattern))


def _parquet(folder):
  for place in (folder, os.path.join(folder, "data")):
    found = sorted(glob.glob(os.path.join(glob.escape(place), "*.parquet")))
    if found:
      return found
  return []


def _columns(part):
  """The names of the columns of a file, by what they hold; None: no such."""
  import pyarrow

  schema = _open(part).schema
  stated = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
  features = stated.get("info", {}).get("features", {})
  sound = [n for n, kind in features.items() if _is_audio(kind)] or [
    field.name
    for field in schema
    if pyarrow.types.is_struct(field.type)
    and {"bytes", "path"} <= {inner.name for inner in field.type}
  ]
  found = {
    what: next((n for n in tables.COLUMNS[what] if n in schema.names), None)
    for what in ("text", "id", "speaker")
  }
  if len(sound) != 1 or not found["text"]:
    raise ValueError(
      "A data set must have one audio column and a column text, sentence, "
      f"transcript or transcription. Received: columns={schema.names}, "
      f"path={part}"
    )
  return {"audio": sound[0], **found}


def _is_audio(kind):
  return isinstance(kind, dict) and kind.get("_type") == "Audio"


class _Arrow:
  """A file of Arrow's stream format, mapped into memory."""

  def __init__(self, path):
    import pyarrow

    self._path = path
    self.schema = pyarrow.ipc.open_stream(pyarrow.memory_map(path)).schema

  def batches(self, _):
    import pyarrow

    return iter(pyarrow.ipc.open_stream(pyarrow.memory_map(self._path)))


class _Parquet:
  def __init__(self, path):
    import pyarrow.parquet

    self._file = pyarrow.parquet.ParquetFile(path)
    self.schema = self._file.schema_arrow

  def batches(self, names):
    return self._file.iter_batches(64, columns=names)


def _open(part):
  return (_Arrow if part.endswith(".arrow") else _Parquet)(part)


def _read(part, columns):
  """The rows of a file, dicts; of the sound its path and whether it is there.

  The bytes themselves are not copied.
  """
  names = [name for name in columns.values() if name]
  for batch in _open(part).batches(names):
    sound = batch.column(columns["audio"])
    there = sound.field("bytes").is_valid().to_pylist()
    paths = sound.field("path").to_pylist()
    others = [name for name in names if name != columns["audio"]]
    for number, row in enumerate(batch.select(others).to_pylist()):
      place = {"path": paths[number], "there": there[number]}
      yield {**row, columns["audio"]: place}


def _sounds(parts, counts, wanted):
  """The bytes of the sound of rows, whose numbers over all files ascend."""
  first = 0
  wanted = iter(wanted)
  number = next(wanted, None)
  for part, rows in zip(parts, counts, strict=True):
    if number is None:
      return
    if number >= first + rows:
      first += rows
      continue
    name = _columns(part)["audio"]
    for batch in _open(part).batches([name]):
      sound = batch.column(name).field("bytes")
      while number is not None and number < first + len(batch):
        yield sound[number - first].as_py()
        number = next(wanted, None)
      first += len(batch)


def _text(value):
  return "" if value is None else str(value)

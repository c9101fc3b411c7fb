"""Tables of utterances: TSV and CSV files with a header, by the csv rules.

A field between double quotes may hold tabs, commas and ends of line, but not
whole rows; a double quote in it is doubled. A row has as many fields as the
header. Common Voice (columns client_id and sentence) quotes nothing, though
what others take of it may; its audio is in clips/.
A file without a header has the columns path, text; id, path, text; or id, path,
speaker, seconds, text: the path is known by its extension.

| what | column, the first that is there |
|---|---|
| path | path, file_name, wav_filename, audio_filepath |
| text | text, sentence, transcript, transcription |
| id | id; without one the path, without its extension |
| speaker | speaker, speaker_id, client_id |
| seconds | seconds, duration |
| offset | offset: where in the file it begins; it then lasts those seconds |
"""

import collections
import csv
import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from tf_pcc.data import formats, manifests
from tf_pcc.data.lines import read_lines
from tf_pcc.data.segments import WHOLE, Segment

DELIMITERS = {".tsv": "\t", ".csv": ","}
COLUMNS = {
  "path": ("path", "file_name", "wav_filename", "audio_filepath"),
  "text": ("text", "sentence", "transcript", "transcription"),
  "id": ("id",),
  "speaker": ("speaker", "speaker_id", "client_id"),
  "seconds": ("seconds", "duration"),
  "offset": ("offset",),
}
# Of files without a header, by the number of columns.
_WITHOUT_HEADER = {
  2: ["path", "text"],
  3: ["id", "path", "text"],
  5: ["id", "path", "speaker", "seconds", "text"],
}
_AUDIO = formats.EXTENSIONS
# The largest field that the csv module takes on every platform.
_LONGEST = 2**31 - 1
_SHOWN = 200


def read_rows(path: str | os.PathLike) -> list[manifests.Row]:
  """The rows of a table of utterances.

  Args:
    path: Local file; its extension is one of `DELIMITERS`, perhaps with .gz.

  Returns:
    List of `manifests.Row`.

  Raises:
    ValueError: If a column is missing or there twice, or a row breaks the
      rules of the module or has a field that cannot be used; the line is named.
  """
  delimiter = DELIMITERS[extension(os.fspath(path))]
  names, rows = _parse(path, delimiter)
  return [_row(where, fields, names) for where, fields in rows]


def extension(path: str) -> str:
  """The extension of a path, that of compression left out.

  Args:
    path: A path.

  Returns:
    For example ".csv" of "A.CSV.gz": in lower case.
  """
  path = path.lower().removesuffix(".gz")
  return os.path.splitext(path)[1]


def write(rows: Iterable[Sequence[str]]) -> str:
  """A table as the text of a TSV file, such as `read_rows` takes.

  Args:
    rows: Sequences of str, the header first.

  Returns:
    str.
  """
  file = io.StringIO()
  csv.writer(file, "excel-tab", lineterminator="\n").writerows(rows)
  return file.getvalue()


def _row(where, fields, names):
  def field(what):
    return fields[names[what]] if names[what] else ""

  path, text = names["path"], names["text"]
  stated = field("seconds") or None
  stated = manifests.seconds(where, names["seconds"], stated)
  segment = WHOLE
  if field("offset"):
    offset = manifests.seconds(where, "offset", field("offset"))
    segment = Segment(offset or 0.0, stated)
  return manifests.Row(
    where,
    manifests.string(where, path, fields[path]),
    manifests.string(where, text, fields[text], empty=True),
    id=manifests.string(where, "id", field("id")) if names["id"] else "",
    speaker=field("speaker"),
    seconds=stated,
    segment=segment,
  )


def _names(path, delimiter, columns):
  """Which column says what, or None."""
  names = {}
  for what, choices in COLUMNS.items():
    names[what] = next((name for name in choices if name in columns), None)
  if names["path"] and names["text"]:
    manifests.warn_of_times(os.fspath(path), columns)
    return names
  hint = ""
  if len(columns) == 1 and any(d in columns[0] for d in "\t,;|"):
    kind = "tabs" if delimiter == "\t" else "commas"
    hint = f", and {kind} between the fields in a file of this extension"
  raise ValueError(
    "A manifest must have the columns path and text, and may have id, speaker, "
    f"seconds and offset{hint}. Received: columns={columns}, path={path}"
  )


def _parse(path, delimiter):
  """Which column says what, and the rows: where each is, and its fields."""
  lines = list(read_lines(path))
  # The limit is the process's; the default refuses fields of 128 KiB.
  limit = csv.field_size_limit(_LONGEST)
  try:
    records = _records(path, lines, delimiter)
    where, header, _ = next(records, (None, [], 0))
    columns = [name.strip().strip("\"'").strip() for name in header]
    headless = _WITHOUT_HEADER.get(len(columns), [])
    if _is_row(columns, headless):
      columns = headless
      records = _records(path, lines, delimiter)
    counts = collections.Counter(filter(None, columns))
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
      raise ValueError(
        f"{where} must name each column once. Received: repeated="
        f"{sorted(repeated)}"
      )
    names = _names(path, delimiter, columns)
    common_voice = {"client_id", "sentence"} <= set(columns)
    if common_voice:
      records = _records(path, lines, delimiter, quoting=csv.QUOTE_NONE)
      next(records)
    rows = []
    place = columns.index(names["path"])
    for where, fields, span in records:
      if len(fields) != len(columns):
        raise ValueError(
          f"{where} must have as many fields as the header, {len(columns)}; "
          "a field that holds the delimiter goes between double quotes. "
          f"Received: {len(fields)} fields, {_shortened(fields)}"
        )
      if span.stop - span.start > 1:
        _check_span(where, lines[span], delimiter, len(columns), place)
      if common_voice:
        fields = [_unquoted(field) for field in fields]
      rows.append((where, dict(zip(columns, fields))))
    return names, rows
  finally:
    csv.field_size_limit(limit)


def _unquoted(field):
  """A field of a table whose writer quoted some and doubled quotes in them.

  Common Voice itself does neither; those who take a part of it with pandas do.
  """
  inner = field[1:-1].replace('""', "")
  if (
    field[:1] == field[-1:] == '"' and '""' in field[1:-1] and '"' not in inner
  ):
    return field[1:-1].replace('""', '"')
  return field


def _check_span(where, lines, delimiter, columns, place):
  """Refuses a field that was never closed and goes on over the next rows."""
  rows = [line.rstrip("\r\n").split(delimiter) for line in lines]
  whole = [
    fields
    for fields in rows
    if len(fields) == columns and _is_audio(fields[place].strip('"'))
  ]
  # A row in several lines has its path in one of them.
  if len(whole) > 1:
    raise ValueError(
      f"{where} begins a field between double quotes that ends "
      f"{len(lines) - 1} lines on, and holds what must be rows of their own: "
      "a double quote that belongs to the text is doubled, and its field is "
      f"between double quotes. Received: {_shortened(whole[1])}"
    )


def _is_audio(path):
  return path.lower().endswith(_AUDIO)


def _is_row(fields, columns):
  """Whether the first line is no header, but a row of such columns."""
  if "path" not in columns or COLUMNS["path"][0] in fields:
    return False
  return _is_audio(fields[columns.index("path")])


def _records(path, lines, delimiter, quoting: Any = csv.QUOTE_MINIMAL):
  """The rows that are not blank, each with where it begins and its lines."""
  reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=quoting)
  where, first = f"Line 1 of {path}", 0
  try:
    for fields in reader:
      if any(field.strip() for field in fields):
        yield where, fields, slice(first, reader.line_num)
      first = reader.line_num
      where = f"Line {first + 1} of {path}"
  except csv.Error as error:
    raise ValueError(
      f"{where} must follow the csv rules: a field that begins with a double "
      "quote ends with one, and those within it are doubled. "
      f"Received: {error}"
    ) from error


def _shortened(fields):
  text = repr(fields)
  return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."

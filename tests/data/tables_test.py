"""TSV and CSV manifests follow the csv rules and never lose a word."""

import csv
import time

import pytest

from tf_pcc.data import nemo, tables


def _read(tmp_path, content, name="x.tsv"):
  path = tmp_path / name
  path.write_text(content, encoding="utf-8")
  return [
    (row.id, row.path, row.text, row.speaker, row.seconds)
    for row in tables.read_rows(str(path))
  ]


@pytest.mark.parametrize(
  "text", ['a\tb "c"', '"', "two\nlines", "", "a, b", "'tis", "caf\u00e9"]
)
@pytest.mark.parametrize("name", ["x.tsv", "x.csv"])
def test_any_text_comes_back(tmp_path, text, name):
  with open(tmp_path / name, "w", newline="") as file:
    delimiter = tables.DELIMITERS[name[1:]]
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([["id", "path", "text"], ["u", "x.wav", text]])
  (row,) = tables.read_rows(str(tmp_path / name))
  assert (row.id, row.path, row.text) == ("u", "x.wav", text)


def test_what_is_written_is_read(tmp_path):
  rows = [("u", "x.wav", 'a\tb "c"\nd'), ("v\t", '"y".wav', "e")]
  content = tables.write([("id", "path", "text"), *rows])
  assert [row[:3] for row in _read(tmp_path, content)] == rows


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("v\tx.wav\tHELLO\tTHERE", "as many fields as the header, 3.*THERE"),
    ("v\tx.wav", "as many fields as the header, 3.*2 fields"),
    ('v\tx.wav\t"HELLO," SHE SAID', "must follow the csv rules"),
    ('v\tx.wav\t"HELLO', "must follow the csv rules"),
  ],
)
def test_a_row_that_breaks_the_rules_is_named(tmp_path, line, message):
  good = 'u\tx.wav\t"TWO\nLINES"\n'
  with pytest.raises(ValueError, match=message) as caught:
    _read(tmp_path, f"id\tpath\ttext\n{good}\n{line}\nw\tx.wav\tBYE\n")
  assert str(caught.value).startswith(f"Line 5 of {tmp_path}/x.tsv ")


def test_the_header_is_stripped_and_names_each_column_once(tmp_path):
  header = " 'id' \t\"path\"\t text"
  assert _read(tmp_path, f"\ufeff{header}\nu\tx.wav\tA\n")[0][:3] == (
    "u",
    "x.wav",
    "A",
  )
  with pytest.raises(ValueError, match="Line 1 .* once.*repeated=.'text'."):
    _read(tmp_path, "id\tpath\ttext\t text\nu\tx.wav\tA\tB\n")


def test_long_fields(tmp_path):
  limit = csv.field_size_limit()
  text = "HELLO " * 50_000
  content = tables.write([("path", "text"), ("x.wav", text)])
  assert _read(tmp_path, content)[0][2] == text
  assert csv.field_size_limit() == limit


def test_common_voice_quotes_nothing(tmp_path):
  content = (
    "client_id\tpath\tsentence\tup_votes\n"
    's1\ta.mp3\t"Hello," she said.\t2\n'
    's2\tb.mp3\t"Hello\t0\n'
  )
  assert _read(tmp_path, content) == [
    ("", "a.mp3", '"Hello," she said.', "s1", None),
    ("", "b.mp3", '"Hello', "s2", None),
  ]


def test_other_names_of_columns(tmp_path):
  content = "wav_filename,wav_filesize,transcript\nx.wav,5,hello\n"
  assert _read(tmp_path, content, "x.csv") == [("", "x.wav", "hello", "", None)]
  content = "file_name,transcription,duration\nx.wav,hello,1.5\n"
  assert _read(tmp_path, content, "x.CSV") == [("", "x.wav", "hello", "", 1.5)]


@pytest.mark.parametrize(
  ("name", "header", "rows", "swallowed"),
  [
    ("x.tsv", "path,text", ["a.wav,%sHE", "b.wav,SAID", "c.wav,SO%s"], "b.wav"),
    ("x.csv", "path,text", ["a.wav,%sHE", "b.wav,SO%s"], "b.wav"),
    ("x.csv", "text,path,n", ["%sHE,a.wav,1", "SO%s,b.wav,2"], "b.wav"),
  ],
)
def test_an_open_quote_does_not_swallow_rows(
  tmp_path, name, header, rows, swallowed
):
  rows[0], rows[-1] = rows[0] % '"', rows[-1] % '"'
  good = rows[0].replace('"', "")
  content = "\n".join([header, good, *rows, good])
  if name.endswith(".tsv"):
    content = content.replace(",", "\t")
  with pytest.raises(ValueError, match="rows of their own") as caught:
    _read(tmp_path, content, name)
  assert str(caught.value).startswith(f"Line 3 of {tmp_path}/{name} begins")
  assert swallowed in str(caught.value)


@pytest.mark.parametrize(
  "content",
  ['text,path\n"TWO\nLINES",x.wav\n', 'path,text\nx.wav,"TWO\nLINES"\n'],
)
def test_a_text_of_two_lines_is_one(tmp_path, content):
  (row,) = _read(tmp_path, content, "x.csv")
  assert row[1:3] == ("x.wav", "TWO\nLINES")


def test_another_delimiter_than_the_extension_says(tmp_path):
  content = "client_id\tpath\tsentence\ns\tx.wav\tHELLO, WORLD\n"
  with pytest.raises(ValueError, match="and commas between the fields"):
    _read(tmp_path, content, "x.csv")
  with pytest.raises(ValueError, match="and tabs between the fields"):
    _read(tmp_path, "path;text\nx.wav;HELLO\n", "x.tsv")


@pytest.mark.parametrize("name", ["x.tsv", "x.csv", "x.jsonl"])
@pytest.mark.parametrize("offset", [True, False])
def test_times_that_are_not_read_are_told(tmp_path, name, offset, caplog):
  """Once a file, and not where the part of the file is said otherwise."""
  row = {"audio_filepath": "x.wav", "text": "a", "start": 0.5, "end_time": 1.5}
  if offset:
    row |= {"offset": 0.5, "duration": 1.0}
  if name == "x.jsonl":
    rows = list(nemo.rows((row, f"Line {n} of {name}") for n in (1, 2)))
  else:
    lines = [row.keys(), *[row.values()] * 2]
    content = "\n".join(
      tables.DELIMITERS[name[1:]].join(map(str, line)) for line in lines
    )
    rows = _read(tmp_path, content, name)
  assert len(rows) == 2
  said = [
    r.getMessage() for r in caplog.records if "not read" in r.getMessage()
  ]
  assert len(said) == (0 if offset else 1)
  assert offset or "start and end_time, which are not read" in said[0]


@pytest.mark.parametrize(
  ("written", "text"),
  [
    ('"He said ""no""."', 'He said "no".'),
    ('"""No."""', '"No."'),
    ('"No."', '"No."'),
    ('"No," he said', '"No," he said'),
    ('"No" or "yes"', '"No" or "yes"'),
    ('"', '"'),
    ('""', '""'),
  ],
)
def test_quotes_of_common_voice_and_of_parts_of_it(tmp_path, written, text):
  """It quotes nothing itself; pandas doubles quotes and puts others around."""
  content = f"client_id\tpath\tsentence\ns\tx.mp3\t{written}\n"
  assert [row[2] for row in _read(tmp_path, content)] == [text]


def test_a_header_of_many_columns(tmp_path):
  """The work grows as the header does, not as its square."""
  columns = "\t".join(f"c{i}" for i in range(100_000))
  started = time.process_time()
  with pytest.raises(ValueError, match="must have as many fields"):
    _read(tmp_path, f"path\ttext\t{columns}\na.wav\tA\n")
  with pytest.raises(ValueError, match="each column once.*'c7'"):
    _read(tmp_path, f"path\ttext\tc7\t{columns}\na.wav\tA\n")
  assert time.process_time() - started < 10

"""Files of JSON objects."""

import time

import pytest

from tf_pcc.data import objects


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_and_arrays(tmp_path, mark, end):
  path = tmp_path / "x.json"
  for content, place in (
    ('{"a": 1}\n\n{"b": [2]}\n', ("Line 1", "Line 3")),
    ('\n[{"a": 1},\n {"b": [2]}]\n', ("Item 1", "Item 2")),
  ):
    data = (mark + content).replace("\n", end)
    path.write_text(data, encoding="utf-8", newline="")
    found = [{"a": 1}, {"b": [2]}]
    assert list(objects.read_objects(path)) == [
      (item, f"{where} of {path}") for item, where in zip(found, place)
    ]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ('{"text": "one", "text": "two"}', "Line 1 .*more than once: text"),
    ('{"a": 1}\n{"a": {"b": 1, "b": 1}}', "Line 2 .*more than once: b"),
    ('[{"a": 1, "a": 1}]', "must be a JSON array.*more than once: a"),
    ('{\n"a": 1\n}', "Line 1 .*must be a JSON object, whole in its line"),
    ('{"a": 1},\n{"a": 2}', "Line 1 .*Extra data"),
  ],
)
def test_what_is_no_object_of_one_meaning(tmp_path, content, message):
  (tmp_path / "x.json").write_text(content)
  with pytest.raises(ValueError, match=message):
    list(objects.read_objects(tmp_path / "x.json"))


def test_many_fields_that_are_there_twice(tmp_path):
  """The work grows as the object does, not as its square."""
  fields = ", ".join(f'"f{i:05d}": 1' for i in range(50_000))
  path = tmp_path / "x.jsonl"
  path.write_text(f"{{{fields}, {fields}}}\n")
  started = time.process_time()
  with pytest.raises(ValueError, match="more than once: f00000, f0") as error:
    list(objects.read_objects(path))
  assert time.process_time() - started < 10
  assert len(str(error.value)) < 500

"""Columns in an Arrow file: like tuples, checked, and no object a row."""

import json

import numpy as np
import pytest

from tests.data import order_reference
from tf_pcc.data import (
  assembly,
  batching,
  columns,
  counting,
  index,
  records,
  text,
)
from tf_pcc.data.utterances import Utterance

pytest.importorskip("pyarrow", reason="large records have an Arrow index")
TOKENIZER = text.CharacterTokenizer("AB ")
WORDS = ["A", "B", "AB A", "", "\u00c4", "A B", "\u6f22" * 40]


@pytest.fixture(params=[3, 1000])
def strings(request, tmp_path, monkeypatch):
  monkeypatch.setattr(columns, "BATCH", request.param)
  expected = tuple(WORDS[i % 7] + str(i) for i in range(40))
  path = str(tmp_path / "c.arrow")
  parts = [{"text": list(expected[i : i + 10])} for i in range(0, 40, 10)]
  found = columns.read(path, columns.write(path, parts))
  return columns.Strings(found["text"]), expected


def test_a_column_is_like_a_tuple(strings):
  found, expected = strings
  assert len(found) == 40 and found == expected and tuple(found) == expected
  assert found != expected[1:] and found != expected[:-1] + ("x",)
  for i in [0, 1, 9, 10, 39, -1, -40, np.int64(17)]:
    assert found[i] == expected[i]
  for part in [slice(None), slice(3, 17), slice(10, 20), slice(39, 99)]:
    assert found[part] == expected[part]
  for part in [slice(None, None, -3), slice(30, 3, -7), slice(5, 5)]:
    assert found[part] == expected[part]
  for i in (40, -41):
    with pytest.raises(IndexError):
      found[i]
  assert found.index(expected[23]) == 23 and expected[5] in found


@pytest.fixture
def folders(tmp_path, monkeypatch):
  """The same records with both kinds of index."""
  random = np.random.default_rng(0)
  pairs = [
    (
      Utterance(f"u{i}", "", "AB A"[: i % 5], speaker=f"s{i % 3}"),
      np.full(random.integers(20, 300), i, np.int16),
    )
    for i in range(60)
  ]
  for name, large in (("small", 10**6), ("large", 1)):
    monkeypatch.setattr(index, "LARGE", large)
    records.write_records(
      pairs, tmp_path / name, shards=3, sample_rate=100, progress=False
    )
  return tmp_path / "small", tmp_path / "large"


def test_both_kinds_of_index_say_the_same(folders):
  small, large = map(records.Records, folders)
  assert (folders[1] / "index.arrow").exists()
  for name in ("ids", "texts", "speakers"):
    assert getattr(large, name) == getattr(small, name)
  np.testing.assert_array_equal(large.samples, small.samples)
  assert large.samples.dtype == np.int64
  ignored = ("format", "columns")
  assert {k: v for k, v in small.index.items() if k not in ignored} == {
    k: v for k, v in large.index.items() if k not in ignored
  }
  large.verify()
  for i in range(60):
    np.testing.assert_array_equal(large.read(i), small.read(i))


def test_the_order_is_the_same_and_labels_are_counted_once(
  folders, monkeypatch
):
  expected = order_reference.Order(
    [f"u{i}" for i in range(60)],
    [TOKENIZER.encode("AB A"[: i % 5]) for i in range(60)],
    records.Records(folders[0]).samples.tolist(),
    4,
    (100, 200, 300),
    seed=3,
  )
  for start in range(3):
    if start == 2:
      # Counted already: nothing is encoded but the rows of a step.
      monkeypatch.setattr(counting, "_count", None)
    for folder in folders[start // 2 :]:
      batches = batching.Batches(
        records.Records(folder), TOKENIZER, 4, (1, 2, 3), seed=3
      )
      for step in range(2 * len(batches)):
        assert batches.ids(step) == expected.ids(step)
      _, _, labels, counts = batches.batch(0)
      for row, count, name in zip(labels, counts, batches.ids(0)):
        line = "AB A"[: int(name[1:]) % 5]
        assert row[:count].tolist() == TOKENIZER.encode(line)
  assert len(list(folders[1].glob("label_counts-*"))) == 1
  assert not list(folders[0].glob("label_counts-*"))
  with pytest.raises(TypeError):  # Another tokenizer has counts of its own.
    assembly.label_counts(
      text.CharacterTokenizer("BA "), records.Records(folders[1]).texts
    )


def test_damaged_counts_are_made_again(folders):
  opened = records.Records(folders[1])
  expected = assembly.label_counts(TOKENIZER, opened.texts)
  (path,) = folders[1].glob("label_counts-*")
  whole = path.read_bytes()
  for damage in (b"", whole[:50], whole[:200] + b"\1" + whole[201:]):
    path.write_bytes(damage)
    found = assembly.label_counts(TOKENIZER, opened.texts)
    np.testing.assert_array_equal(found, expected)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (lambda c: c[:-1], "bytes, not"),
    (lambda c: b"", "has 0 bytes"),
    (lambda c: c[:300] + bytes([c[300] ^ 1]) + c[301:], "SHA-256"),
  ],
)
def test_a_damaged_file_of_columns(folders, damage, message):
  path = folders[1] / "index.arrow"
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match=f"index.arrow: .*{message}.*; restore"):
    records.Records(folders[1])


def test_columns_that_are_gone_or_of_other_records(folders):
  path = folders[1] / "index.arrow"
  path.rename(folders[1] / "away")
  with pytest.raises(ValueError, match="index.arrow: it cannot be read"):
    records.Records(folders[1])
  header = json.loads((folders[1] / "index.json").read_text())
  for change in ({"checksum": "0" * 64}, {"utterances": 59}):
    content = json.dumps({**header, **change})
    (folders[1] / "index.json").write_text(content)
    with pytest.raises(ValueError, match="does not have its checksum"):
      records.Records(folders[1])
  del header["checksum"]
  (folders[1] / "index.json").write_text(json.dumps(header))
  with pytest.raises(ValueError, match="must have columns and a checksum"):
    records.Records(folders[1])


def test_a_length_that_cannot_be(folders):
  """What a program, not rot, did: every checksum is right."""
  _, found = index.read(str(folders[1]))
  header = json.loads((folders[1] / "index.json").read_text())
  for name in ("checksum", "columns"):
    del header[name]
  found = {
    k: np.array(v) if k in index.NUMBERS else list(v) for k, v in found.items()
  }
  found["samples"][7] = 10**8
  index.write(str(folders[1]), header, [found])
  with pytest.raises(ValueError, match="too small.*utterance 7, 'u7'"):
    records.Records(folders[1])


def test_in_a_bucket(folders):
  """TensorFlow's own file system in memory stands for a remote one."""
  from tensorflow.io import gfile

  gfile.makedirs("ram://records")
  for path in folders[1].iterdir():
    gfile.copy(str(path), f"ram://records/{path.name}", overwrite=True)
  opened = records.Records("ram://records")
  assert opened.ids == records.Records(folders[0]).ids
  np.testing.assert_array_equal(
    opened.read(59), np.full(opened.samples[59], 59)
  )
  _, found = index.read(str(folders[0]))
  copies = {k: list(v) for k, v in found.items()}
  written = columns.write("ram://records/again.arrow", [copies])
  assert written["bytes"] > 0

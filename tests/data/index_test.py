"""An index that is not as it was written is refused, in one sentence."""

import json
import os

import numpy as np
import pytest

from tf_pcc.data import index, records
from tf_pcc.data.utterances import Utterance


@pytest.fixture
def folder(tmp_path):
  """Records of ten utterances in two shards."""
  pairs = [
    (Utterance(f"u{i}", "", "A B"), np.full(100 + i, i, np.int16))
    for i in range(10)
  ]
  records.write_records(pairs, tmp_path / "r", shards=2, progress=False)
  return tmp_path / "r"


def _edit(folder, change, seal=False):
  """Changes the parsed index; with `seal` as a program would, else as rot."""
  path = folder / "index.json"
  value = json.loads(path.read_text())
  value.pop("checksum")
  value = change(value) or value
  path.write_text(json.dumps(index.sealed(value) if seal else value))


def _set(name, value, row=None):
  def change(content):
    if row is None:
      content[name] = value
    else:
      content["records"][name][row] = value

  return change


def _cut(name):
  return lambda content: content["records"].update(
    {name: content["records"][name][:-1]}
  )


def _shift_texts(content):
  ids = content["records"]["id"]
  content["records"]["id"] = ids[1:] + ids[:1]


_DAMAGE = {
  "a negative length": (_set("samples", -5, 3), "positive.*'u3'.*samples=-5"),
  "no length": (_set("samples", 0, 3), "positive.*samples=0"),
  "a length of 10^8": (_set("samples", 10**8, 3), "too small.*'u3'"),
  "a length a little off": (_set("samples", 90, 3), "add up to"),
  "a huge number": (_set("samples", 10**30, 3), "samples.*too large"),
  "a length near 2^63": (_set("samples", 2**63 - 1, 3), "too small"),
  "a fraction": (_set("samples", 1.5, 3), "samples is not a list of int"),
  "a truth": (_set("samples", True, 3), "samples is not a list of int"),
  "no text": (_set("text", None, 3), "text is not a list of str"),
  "another shard": (_set("shard", 7, 9), "shard must be one of 2.*'u9'"),
  "a negative shard": (_set("shard", -1, 0), "one of 2.*'u0'"),
  "shards in disorder": (_set("shard", 1, 0), "shards must be in order"),
  "another place": (_set("offset", 13, 0), "begin where.*'u0'"),
  "a negative place": (_set("offset", -13, 4), "begin where.*'u4'"),
  "another size": (_set("size", 10**4, 4), "has .* bytes, .* by the index"),
  "a negative size": (_set("size", -1, 4), "must have bytes.*'u4'"),
  "a larger size": (_set("size", 999, 2), "begin where.*'u3'"),
  **{
    f"a shorter {name}": (_cut(name), f"{name} has 9") for name in index.COLUMNS
  },
  "a column less": (lambda c: c["records"].pop("text") and None, "columns"),
  "no columns": (lambda c: c.pop("records") and None, "columns"),
  "a list": (lambda c: [c], "not a JSON object"),
  "another count": (_set("utterances", 11), "has 10 entries, not 11"),
  "another encoding": (_set("encoding", "mp3"), "encoding='mp3'"),
  "no rate": (_set("sample_rate", 0), "sample_rate=0"),
  "a rate in words": (_set("sample_rate", "16k"), "must be int: '16k'"),
  "no shards": (_set("shards", []), "list of SHA-256"),
  "a shard less": (
    lambda c: c.update(shards=c["shards"][:1]),
    "shard must be one of 1",
  ),
  "another format": (_set("format", 99), "format=99"),
}


@pytest.mark.parametrize("name", _DAMAGE)
def test_damage(folder, name):
  change, message = _DAMAGE[name]
  _edit(folder, change)
  with pytest.raises(ValueError, match=message) as error:
    records.Records(folder)
  assert "\n" not in str(error.value) and str(folder) in str(error.value)


@pytest.mark.parametrize("name", _DAMAGE)
def test_damage_that_carries_a_right_checksum(folder, name):
  change, message = _DAMAGE[name]
  _edit(folder, change, seal=not name.endswith("list"))
  with pytest.raises(ValueError, match=message):
    records.Records(folder)


def test_texts_of_other_utterances(folder):
  """Nothing but the checksum, or the records themselves, can tell."""
  path = folder / "index.json"
  value = json.loads(path.read_text())
  _shift_texts(value)
  path.write_text(json.dumps(value))
  with pytest.raises(ValueError, match="does not have its checksum; restore"):
    records.Records(folder)
  _edit(folder, lambda _: None, seal=True)
  with pytest.raises(records.DamagedRecord, match="'u4'.*it is 'u3'"):
    records.Records(folder).read(3)


def test_every_changed_byte_is_found(folder):
  path = folder / "index.json"
  whole = path.read_bytes()
  random = np.random.default_rng(0)
  for place in random.choice(len(whole), 200, replace=False):
    damaged = bytearray(whole)
    damaged[place] ^= 1 << random.integers(7)
    path.write_bytes(bytes(damaged))
    try:
      found = index.read(str(folder))
    except ValueError:
      continue
    # What JSON ignores, such as one kind of white space for another, and the
    # name of the checksum itself.
    path.write_bytes(whole)
    expected = index.read(str(folder))
    assert {**found[0], **expected[0]} == found[0]
    assert str(found[1]) == str(expected[1])


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b"[]"])
def test_no_index_at_all(folder, content):
  (folder / "index.json").write_bytes(content)
  with pytest.raises(ValueError, match="index.json"):
    records.Records(folder)


def test_records_from_before_the_checksum_are_read(folder):
  _edit(folder, lambda _: None)
  opened = records.Records(folder)
  assert [int(opened.read(i)[0]) for i in range(10)] == list(range(10))


@pytest.mark.parametrize("change", [os.remove, lambda p: os.truncate(p, 50)])
def test_a_shard_that_is_not_whole(folder, change):
  change(folder / index.shard_name(1, 2))
  with pytest.raises(ValueError, match="00001-of-00002.tfrecord: it .*restore"):
    records.Records(folder)

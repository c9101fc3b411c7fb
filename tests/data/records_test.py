"""Records: what goes in comes out, in any order, or nothing is written."""

import dataclasses
import itertools
import json
import os
import shutil
import struct
import threading

import numpy as np
import pytest

from tf_pcc.data import audio, index, records, shards
from tf_pcc.data.utterances import Utterance


def _pairs(count=10, seed=0, dtype=np.int16):
  random = np.random.default_rng(seed)
  pairs = []
  for i in range(count):
    samples = random.integers(-32768, 32768, random.integers(1, 400))
    samples = samples.astype(np.int16)
    waveform = samples if dtype == np.int16 else (samples / 32768).astype(dtype)
    utterance = Utterance(f"u{i}", "", f"TEXT {i}", speaker=f"s{i % 3}")
    pairs.append((utterance, waveform))
  return pairs


def _write(pairs, path, **kwargs):
  return records.write_records(pairs, path, progress=False, **kwargs)


@pytest.mark.parametrize("encoding", records.ENCODINGS)
@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_round_trip(tmp_path, encoding, count, dtype):
  expected = _pairs()
  written = _write(
    _pairs(dtype=dtype), tmp_path / "r", shards=count, encoding=encoding
  )
  opened = records.Records(tmp_path / "r")
  assert len(opened) == written["utterances"] == 10
  for i in np.random.default_rng(1).permutation(10):
    utterance, samples = expected[i]
    np.testing.assert_array_equal(opened.read(i), samples)
    assert opened.samples[i] == len(samples)
    found = (opened.ids[i], opened.texts[i], opened.speakers[i])
    assert found == (utterance.id, utterance.text, utterance.speaker)
    features = opened.example(i).features.feature
    assert features["text"].bytes_list.value[0].decode() == utterance.text
    assert features["encoding"].bytes_list.value[0].decode() == encoding
    assert features["samples"].int64_list.value[0] == len(samples)
    assert features["seconds"].float_list.value[0] == pytest.approx(
      len(samples) / 16000
    )
  opened.verify()
  assert written["samples"] == sum(len(samples) for _, samples in expected)
  names = {path.name for path in (tmp_path / "r").iterdir()}
  assert len(names) == count + 1 and "index.json" in names


@pytest.mark.parametrize("encoding", records.ENCODINGS)
def test_dataset_in_the_graph(tmp_path, encoding):
  if encoding == "flac" and audio.tensorflow_io() is None:
    pytest.skip("tensorflow-io's native library does not load here")
  pairs = _pairs()
  _write(pairs, tmp_path / "r", shards=3, encoding=encoding)
  seen = records.Records(tmp_path / "r").dataset().as_numpy_iterator()
  for (utterance, samples), record in zip(pairs, seen, strict=True):
    np.testing.assert_array_equal(record["audio"], audio.to_float(samples))
    assert record["id"].decode() == utterance.id


def test_threads_may_read_together(tmp_path):
  pairs = _pairs(40)
  _write(pairs, tmp_path / "r", shards=4)
  opened, wrong = records.Records(tmp_path / "r"), []

  def read(seed):
    for i in np.random.default_rng(seed).integers(0, 40, 300):
      if not np.array_equal(opened.read(i), pairs[i][1]):
        wrong.append(i)

  threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong


def _shard(folder):
  return folder / index.shard_name(1, 2)


@pytest.mark.parametrize("encoding", records.ENCODINGS)
def test_every_changed_bit_is_found_where_it_is_read(tmp_path, encoding):
  _write(_pairs(), tmp_path / "r", shards=2, encoding=encoding)
  shard = _shard(tmp_path / "r")
  whole = shard.read_bytes()
  # The records of the second shard, by its own framing.
  ends = list(itertools.accumulate(_sizes(whole)))
  assert ends[-1] == len(whole)
  random = np.random.default_rng(0)
  for place in random.choice(len(whole), 60, replace=False):
    damaged = bytearray(whole)
    damaged[place] ^= 1 << random.integers(8)
    shard.write_bytes(bytes(damaged))
    opened = records.Records(tmp_path / "r")
    number = int(np.searchsorted(ends, place, side="right"))
    in_framing = place - (ends[number - 1] if number else 0) < shards.BEFORE
    with pytest.raises(ValueError, match="00001-of-00002.*is damaged"):
      opened.verify()
    # The length before a record is read by those who scan, not by its offset.
    if not in_framing:
      with pytest.raises(
        records.DamagedRecord, match=rf"00001-of.*'u{5 + number}'.*restore"
      ):
        opened.read(5 + number)
    for i in {*range(10)} - {5 + number}:
      np.testing.assert_array_equal(opened.read(i), _pairs()[i][1])


def _sizes(content):
  place = 0
  while place < len(content):
    (size,) = struct.unpack_from("<Q", content, place)
    yield size + shards.BEFORE + shards.AFTER
    place += size + shards.BEFORE + shards.AFTER


def test_zeroes_in_a_shard_are_not_trained_on(tmp_path):
  _write(_pairs(), tmp_path / "r", shards=2)
  shard = _shard(tmp_path / "r")
  shard.write_bytes(bytes(shard.stat().st_size))
  opened = records.Records(tmp_path / "r")
  for i in range(5, 10):
    with pytest.raises(records.DamagedRecord, match=f"'u{i}'.*CRC32C"):
      opened.read(i)


def test_a_shard_of_another_version(tmp_path):
  """Its records are whole, but they are not those of the index."""
  pairs = _pairs()
  renamed = [(dataclasses.replace(u, id=f"v{u.id[1:]}"), w) for u, w in pairs]
  respoken = [(u, (-1 - w).astype(np.int16)) for u, w in pairs]
  _write(pairs, tmp_path / "r", shards=2)
  opened = records.Records(tmp_path / "r")
  for name, other in (("renamed", renamed), ("respoken", respoken)):
    _write(other, tmp_path / name, shards=2)
    shutil.copy(_shard(tmp_path / name), _shard(tmp_path / "r"))
    found = "'v5'" if name == "renamed" else "SHA-256"
    with pytest.raises(ValueError, match=f"00001-of-00002.*{found}"):
      records.Records(tmp_path / "r").verify()
    if name == "renamed":
      with pytest.raises(records.DamagedRecord, match="'u7'.*it is 'v7'"):
        records.Records(tmp_path / "r").read(7)
  assert opened.index["sha256"]


def test_a_record_that_shrinks_while_it_is_open(tmp_path):
  _write(_pairs(), tmp_path / "r", shards=2)
  opened = records.Records(tmp_path / "r")
  opened.read(9)
  os.truncate(_shard(tmp_path / "r"), 100)
  with pytest.raises(records.DamagedRecord, match="'u9'.*ends before"):
    opened.read(9)


def test_memory_records_have_the_same_methods():
  pairs = _pairs(4, dtype=np.float32)
  memory = records.MemoryRecords([w for _, w in pairs], list("ABCD"))
  assert len(memory) == 4 and memory.ids == ("0", "1", "2", "3")
  for i, (_, waveform) in enumerate(pairs):
    np.testing.assert_array_equal(memory.read(i), audio.to_int16(waveform))
    assert memory.samples[i] == len(waveform)
  with pytest.raises(ValueError, match="`texts`.*length 1"):
    records.MemoryRecords([np.zeros(3)] * 2, ["A"])


def test_texts_that_are_not_those_of_the_records(tmp_path):
  """What a program, not rot, did to an index: its checksum is right."""
  _write(_pairs(), tmp_path / "r", shards=2)
  path = tmp_path / "r/index.json"
  content = json.loads(path.read_text())
  del content["checksum"]
  texts = content["records"]["text"]
  content["records"]["text"] = texts[1:] + texts[:1]
  path.write_text(json.dumps(index.sealed(content)))
  with pytest.raises(ValueError, match="'u0'.*TEXT 0.*the index.*TEXT 1"):
    records.Records(tmp_path / "r").verify()

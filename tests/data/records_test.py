"""Records: what goes in comes out, in any order, or nothing is written."""

import json
import threading

import numpy as np
import pytest

from tf_pcc.data import audio, records, writing
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
@pytest.mark.parametrize("shards", [1, 3, 10])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_round_trip(tmp_path, encoding, shards, dtype):
  expected = _pairs()
  index = _write(
    _pairs(dtype=dtype), tmp_path / "r", shards=shards, encoding=encoding
  )
  opened = records.Records(tmp_path / "r")
  assert len(opened) == index["utterances"] == 10
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
  assert index["samples"] == sum(len(samples) for _, samples in expected)
  names = {path.name for path in (tmp_path / "r").iterdir()}
  assert len(names) == shards + 1 and "index.json" in names


@pytest.mark.parametrize("encoding", records.ENCODINGS)
def test_dataset_in_the_graph(tmp_path, encoding):
  if encoding == "flac" and audio.tensorflow_io() is None:
    pytest.skip("tensorflow-io's native library does not load here")
  pairs = _pairs()
  _write(pairs, tmp_path / "r", shards=3, encoding=encoding)
  heard = records.Records(tmp_path / "r").dataset().as_numpy_iterator()
  for (utterance, samples), record in zip(pairs, heard, strict=True):
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


def test_damage_is_found(tmp_path):
  _write(_pairs(), tmp_path / "r", shards=2)
  shard = tmp_path / "r" / writing.shard_name(1, 2)
  data = bytearray(shard.read_bytes())
  data[40] ^= 1
  shard.write_bytes(bytes(data))
  with pytest.raises(ValueError, match="00001-of-00002.*damaged"):
    records.Records(tmp_path / "r").verify()
  _write(_pairs(seed=1), tmp_path / "other", shards=2)
  shard.write_bytes((tmp_path / "other" / shard.name).read_bytes())
  with pytest.raises(ValueError, match="00001-of-00002.*SHA-256"):
    records.Records(tmp_path / "r").verify()


def test_index_of_another_format(tmp_path):
  _write(_pairs(), tmp_path / "r")
  path = tmp_path / "r/index.json"
  path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
  with pytest.raises(ValueError, match="format=99"):
    records.Records(tmp_path / "r")


def test_memory_records_have_the_same_face():
  pairs = _pairs(4, dtype=np.float32)
  memory = records.MemoryRecords([w for _, w in pairs], list("ABCD"))
  assert len(memory) == 4 and memory.ids == ("0", "1", "2", "3")
  for i, (_, waveform) in enumerate(pairs):
    np.testing.assert_array_equal(memory.read(i), audio.to_int16(waveform))
    assert memory.samples[i] == len(waveform)
  with pytest.raises(ValueError, match="`texts`.*length 1"):
    records.MemoryRecords([np.zeros(3)] * 2, ["A"])

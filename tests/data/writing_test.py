"""Writing records: whole or not at all, resumed, skips counted."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tf_pcc.data import audio, records
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


def test_the_same_input_gives_the_same_bytes(tmp_path):
  hashes = set()
  for workers in (1, 4):
    _write(_pairs(), tmp_path / f"{workers}", shards=4, workers=workers)
    files = sorted((tmp_path / f"{workers}").glob("*.tfrecord"))
    hashes.add(b"".join(path.read_bytes() for path in files))
  assert len(hashes) == 1
  other = _write(_pairs(seed=1), tmp_path / "other", shards=4)
  same = records.Records(tmp_path / "1").index["sha256"]
  assert other["sha256"] != same


def test_unreadable_audio_is_skipped_and_listed(tmp_path):
  good, truncated = tmp_path / "good.flac", tmp_path / "truncated.flac"
  data = audio.encode_flac(_pairs(1)[0][1].repeat(50))
  good.write_bytes(data)
  truncated.write_bytes(data[: len(data) // 2])
  corpus = [Utterance(f"u{i}", str(good), "A") for i in range(30)]
  corpus.append(Utterance("bad", str(truncated), "A"))
  corpus.append((Utterance("empty", "", "A"), np.zeros(0)))
  corpus.append((Utterance("nan", "", "A"), np.array([np.nan])))
  index = _write(corpus, tmp_path / "r", shards=2, max_skipped_share=0.1)
  assert [skip["id"] for skip in index["skipped"]] == ["bad", "empty", "nan"]
  assert "truncated.flac" in index["skipped"][0]["reason"]
  assert len(records.Records(tmp_path / "r")) == 30
  with pytest.raises(ValueError, match="3 of 33 .*max_skipped_share=0.05"):
    _write(corpus, tmp_path / "s", shards=2)
  assert not list(tmp_path.glob("s*"))


def test_nothing_readable_is_an_error_whatever_the_share(tmp_path):
  pairs = [(Utterance("empty", "", "A"), np.zeros(0))]
  with pytest.raises(ValueError, match="1 of 1"):
    _write(pairs, tmp_path / "r", max_skipped_share=1)


def test_an_interrupted_call_goes_on_where_it_was(tmp_path):
  pairs = _pairs(12)
  made = []

  def sources(fail_at):
    def make(shard):
      if shard == fail_at:
        raise KeyboardInterrupt
      made.append(shard)
      return pairs[shard * 3 : shard * 3 + 3]

    return [(3, lambda shard=shard: make(shard)) for shard in range(4)]

  def write(fail_at, key="k"):
    return records.write_shards(
      sources(fail_at), tmp_path / "r", key, workers=1, progress=False
    )

  with pytest.raises(KeyboardInterrupt):
    write(fail_at=2)
  assert not (tmp_path / "r").exists()
  with pytest.raises(ValueError, match="interrupted"):
    records.Records(tmp_path / "r")
  assert made[:2] == [0, 1] and 2 not in made
  write(fail_at=None)
  assert made.count(0) == made.count(1) == 1 and {2, 3} <= set(made)
  whole = _write(pairs, tmp_path / "whole", shards=4)
  assert records.Records(tmp_path / "r").index["sha256"] == whole["sha256"]
  records.Records(tmp_path / "r").verify()
  assert not (tmp_path / "r.partial").exists()


def test_another_input_starts_again(tmp_path):
  calls = []

  def broken():
    raise KeyboardInterrupt

  def part(name):
    calls.append(name)
    return _pairs(1)

  for key in ("one", "two"):
    with pytest.raises(KeyboardInterrupt):
      records.write_shards(
        [(1, lambda key=key: part(key)), (1, broken)],
        tmp_path / "r",
        key,
        workers=1,
        progress=False,
      )
  assert calls == ["one", "two"]


def test_records_are_never_overwritten(tmp_path):
  _write(_pairs(), tmp_path / "r")
  for other, options in ((_pairs(9), {}), (_pairs(), {"shards": 2})):
    with pytest.raises(ValueError, match="never overwritten"):
      _write(other, tmp_path / "r", **options)
  assert len(records.Records(tmp_path / "r")) == 10


def test_the_same_input_again_finds_its_records(tmp_path):
  """As when a call is killed after its last file."""
  path = tmp_path / "r"
  first = _write(_pairs(), path)
  times = {p: p.stat().st_mtime_ns for p in path.iterdir()}
  assert _write(_pairs(), path) == first
  assert {p: p.stat().st_mtime_ns for p in path.iterdir()} == times
  (path / "index.json").write_text("{")
  with pytest.raises(ValueError, match="index.json must be JSON"):
    _write(_pairs(), path)


def test_a_sound_that_changed_is_another_input(tmp_path):
  path = tmp_path / "a.wav"
  soundfile.write(path, np.zeros(1600), 16000)
  utterances = [Utterance("a", str(path), "A")]
  _write(utterances, tmp_path / "r")
  _write(utterances, tmp_path / "r")
  soundfile.write(path, np.zeros(3200), 16000)
  with pytest.raises(ValueError, match="never overwritten"):
    _write(utterances, tmp_path / "r")


@pytest.mark.parametrize("moment", ["parts", "plan", "rename"])
def test_a_call_that_dies_while_it_finishes_goes_on(
  tmp_path, monkeypatch, moment
):
  """Nothing is decoded twice for the sake of the last files."""

  def die(path, *rest):
    raise KeyboardInterrupt

  made = []

  def part():
    made.append(1)
    return _pairs(3)

  def write():
    return records.write_shards(
      [(3, part)], tmp_path / "r", "k", workers=1, progress=False
    )

  with monkeypatch.context() as patch:
    if moment == "rename":
      patch.setattr(tf.io.gfile, "rename", die)
    else:
      remove = tf.io.gfile.remove
      name = {"parts": ".tfrecord.json", "plan": "plan.json"}[moment]
      patch.setattr(
        tf.io.gfile,
        "remove",
        lambda path: die(path) if path.endswith(name) else remove(path),
      )
    with pytest.raises(KeyboardInterrupt):
      write()
  write()
  assert len(records.Records(tmp_path / "r")) == 3
  assert not (tmp_path / "r.partial").exists()
  assert len(made) == 1


@pytest.mark.parametrize(
  ("pairs", "kwargs", "message"),
  [
    ([], {}, "at least one"),
    (_pairs(2), {"shards": 3}, "shards=3"),
    (_pairs(2), {"shards": 0}, "shards=0"),
    (_pairs(2), {"encoding": "mp3"}, "encoding='mp3'"),
    (_pairs(2) + _pairs(1), {}, "repeated=.'u0'."),
  ],
)
def test_bad_arguments(tmp_path, pairs, kwargs, message):
  with pytest.raises(ValueError, match=message):
    _write(pairs, tmp_path / "r", **kwargs)
  assert not (tmp_path / "r").exists()

"""Ranges of objects, against a stand-in of the storage service."""

import threading

import numpy as np
import pytest

from launch.benchmark import storage_service
from tf_pcc.data import batching, index, records, shards, storage, text
from tf_pcc.data.utterances import Utterance

TOKENIZER = text.CharacterTokenizer("AB ")


class _Stored(records.Records):
  """Records whose shards stand in a bucket."""

  def paths(self):
    shards_ = len(self.index["shards"])
    names = (index.shard_name(number, shards_) for number in range(shards_))
    return [f"gs://bucket/{name}" for name in names]


@pytest.fixture
def directory(tmp_path):
  pairs = [
    (
      Utterance(f"u{i}", "", "AB"[i % 2]),
      np.random.default_rng(i).integers(-9, 9, 50 + i).astype(np.int16),
    )
    for i in range(40)
  ]
  path = tmp_path / "records of speech"
  records.write_records(pairs, path, sample_rate=100, shards=3, progress=False)
  return path


@pytest.fixture
def serve(monkeypatch):
  """A function (folder, fault) that serves it for the time of a context."""
  pytest.importorskip("google.auth", reason="the extra gcs is not installed")
  monkeypatch.setattr(storage, "_PAUSE", 0.0)
  storage._http.cache_clear()

  def start(folder, fault=None):
    context = storage_service.serving(folder, fault=fault)
    server = context.__enter__()
    monkeypatch.setenv(
      "STORAGE_EMULATOR_HOST", f"127.0.0.1:{server.server_port}"
    )
    ends.append(context)
    return server

  ends = []
  yield start
  for context in ends:
    context.__exit__(None, None, None)
  storage._http.cache_clear()


def _batches(source):
  return batching.Batches(source, TOKENIZER, 8, seed=3)


@pytest.mark.parametrize("trouble", [None, 429, 500, 503, "cut"])
def test_batches_are_those_of_the_local_files(directory, serve, trouble):
  server = serve(directory, lambda _, attempt: trouble if attempt < 2 else None)
  local, stored = (
    _batches(records.Records(directory)),
    _batches(_Stored(directory)),
  )
  for step in range(7):
    for ours, theirs in zip(stored.batch(step, 2, 7), local.batch(step, 2, 7)):
      np.testing.assert_array_equal(ours, theirs)
  tries = [attempt for _, attempt in server.requests]
  assert max(tries) >= (2 if trouble else 0)


def test_the_rows_of_a_batch_are_read_together(directory, serve):
  all_wait = threading.Barrier(8, timeout=30)

  def wait(*_):
    all_wait.wait()

  serve(directory, wait)
  audio, *_ = _batches(_Stored(directory)).batch(0)
  assert len(audio) == 8


@pytest.mark.parametrize(
  ("status", "said"),
  [
    (401, "log in: gcloud auth.*401"),
    (403, "Storage Object Viewer.*403"),
    (503, "7 requests failed in a row.*503"),
    ("cut", "7 requests failed in a row"),
  ],
)
def test_an_error_names_the_object(directory, serve, status, said):
  serve(directory, lambda *_: status)
  with pytest.raises(OSError, match=rf"gs://bucket/0000\d-of-00003.*{said}"):
    _Stored(directory).read(5)


def test_a_missing_object_is_named(directory, serve):
  serve(directory.parent)
  with pytest.raises(OSError, match=r"gs://bucket/00000-of-00003.*name.*404"):
    _Stored(directory).read(0)


def test_a_cut_object_is_damage(directory, serve):
  serve(directory)
  opened = _Stored(directory)
  path = directory / index.shard_name(0, 3)
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(shards.DamagedRecord, match="ends before"):
    opened.read(3)


def test_without_google_auth_tensorflow_reads(monkeypatch):
  monkeypatch.setattr(storage, "_installed", lambda: False)
  assert storage.reader("gs://bucket/name") is None

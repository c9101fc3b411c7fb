"""Batches that each host reads itself: equal to those of Python, and where."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.launch.conftest import ROOT
from tests.workers import free_ports
from tf_pcc.data import (
  augmentation,
  batching,
  host_reading,
  mixing,
  records,
  text,
)
from tf_pcc.data.utterances import Utterance

TOKENIZER = text.CharacterTokenizer("ABC ")


def _utterances(count, prefix, seed=0, longest=3000):
  random = np.random.default_rng(seed)
  for i in range(count):
    waveform = random.uniform(-1, 1, random.integers(300, longest + 1))
    words = "".join(random.choice(list("ABC"), 3))
    yield Utterance(f"{prefix}{i}", "", words), waveform.astype(np.float32)


def _write(folder, count=50, encoding="pcm16", **kwargs):
  records.write_records(
    _utterances(count, folder.name, **kwargs),
    str(folder),
    shards=3,
    encoding=encoding,
    progress=False,
  )
  return records.Records(str(folder))


def _make(source, boundaries=(0.1, 0.2), batch=8, **kwargs):
  return batching.Batches(source, TOKENIZER, batch, boundaries, **kwargs)


def _assert_equal(one, other, steps):
  seen = 0
  for first, second in zip(one.take(steps), other.take(steps), strict=True):
    tf.nest.assert_same_structure(first, second)
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(second)):
      assert a.dtype == b.dtype
      np.testing.assert_array_equal(a, b)
    seen += 1
  assert seen == steps


@pytest.mark.parametrize("boundaries", [(0.2,), (0.1, 0.15, 0.2), None])
@pytest.mark.parametrize("pipelines", [1, 2])
def test_what_hosts_read_is_what_python_reads(tmp_path, boundaries, pipelines):
  mixed = mixing.MixedRecords(
    [_write(tmp_path / "a", 30), _write(tmp_path / "b", 21, seed=1)], [1, 2]
  )
  canaries = records.MemoryRecords(
    [np.full(900, 0.25), np.full(700, -0.5)], ["CAB", "ABBA"], ["x", "y"]
  )
  batches = _make(
    mixed,
    boundaries,
    inserted=[batching.Insertion(canaries, i, 4) for i in range(2)],
    total_steps=30,
    seed=3,
  )
  for pipeline in range(pipelines):
    options = {"num_pipelines": pipelines, "pipeline": pipeline}
    # Over more than an epoch, and from a step in its middle.
    for start, steps in ((0, len(batches) + 3), (7, 4)):
      _assert_equal(
        batches.dataset(start, **options, on_host=True),
        batches.dataset(start, **options),
        steps,
      )


def test_shapes_are_static(tmp_path):
  batches = _make(_write(tmp_path / "a"), (0.2,))
  assert (
    batches.dataset(on_host=True).element_spec == batches.dataset().element_spec
  )


@pytest.mark.parametrize("place", ["data", "id", "end"])
def test_damage_is_an_error_that_names_the_record(tmp_path, place):
  source = _write(tmp_path / "a", 16)
  batches = _make(source, (0.2,))
  victim = batches.ids(1)[3]
  path, offset, size, _ = source.place(source.ids.index(victim))
  with open(path, "rb+") as file:
    if place == "end":
      file.truncate(offset + 20)
    elif place == "data":
      file.seek(offset + 12 + size // 2)
      byte = file.read(1)
      file.seek(-1, 1)
      file.write(bytes([byte[0] ^ 1]))
  if place == "id":
    # As where the index is of other records: the offset holds another's.
    right = source.place
    source.place = lambda i: right(i)._replace(
      id="z" if source.ids[i] == victim else source.ids[i]
    )
  feed = iter(batches.dataset(on_host=True))
  next(feed)
  named = (
    pytest.raises(tf.errors.InvalidArgumentError, match="another record")
    if place == "id"
    # Python reads it by its number, so it finds the right one.
    else pytest.raises(records.DamagedRecord, match=f"'{victim}'.*damaged")
  )
  with named, host_reading.damage_named(batches, [1]):
    next(feed)


def test_what_only_python_can_do_is_refused(tmp_path):
  source = _write(tmp_path / "a")
  changed = augmentation.Augmentation(speeds=(0.9, 1.1))
  with pytest.raises(ValueError, match="leave out the augmentation"):
    _make(source, augmentation=changed).dataset(on_host=True)
  with pytest.raises(ValueError, match="damaged_limit=0.1"):
    _make(source, damaged_limit=0.1).dataset(on_host=True)
  flac = _write(tmp_path / "flac", encoding="flac")
  with pytest.raises(ValueError, match="--encoding=pcm16.*encoding=flac"):
    _make(flac).dataset(on_host=True)


# A second host: a server of TensorFlow that runs what is placed on it.
SERVER = """
import sys
import tensorflow as tf
spec = {"worker": sys.argv[1:]}
tf.distribute.Server(spec, job_name="worker", task_index=1).join()
"""
CLIENT = """
import sys
import tensorflow as tf
from tests.data.host_reading_test import TOKENIZER, _make
from tf_pcc.data import records

def reads(pid):
  with open(f"/proc/{pid}/io") as file:
    return int(file.readline().split()[1])

server, folder, *spec = sys.argv[1:]
tf.config.experimental_connect_to_cluster(
  tf.train.ClusterSpec({"worker": spec}), job_name="worker", task_index=0)
batches = _make(records.Records(folder), (10.0,), batch=16)
with tf.device("/job:worker/task:1/device:CPU:0"):
  remote = iter(batches.dataset(0, 5, 2, 1, on_host=True))
  first = next(remote)
  before = reads("self"), reads(server)
  found = [first, *remote]
after = reads("self"), reads(server)
bytes_read = [b - a for a, b in zip(before, after)]
assert "task:1" in found[1][0]["audio"].device, found[1][0]["audio"].device
for one, other in zip(found, batches.dataset(0, 5, 2, 1), strict=True):
  for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other)):
    tf.debugging.assert_equal(tf.identity(a), b)
print("bytes", *bytes_read)
"""


def test_a_host_reads_its_own_rows_and_the_program_none(tmp_path):
  spec = [f"127.0.0.1:{port}" for port in free_ports(2)]
  _write(tmp_path / "a", 96, longest=160_000)
  server = subprocess.Popen([sys.executable, "-c", SERVER, *spec], cwd=ROOT)
  try:
    done = subprocess.run(
      [sys.executable, "-c", CLIENT, str(server.pid), str(tmp_path / "a")]
      + spec,
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
    )
  finally:
    server.kill()
    server.wait()
  assert done.returncode == 0, done.stderr[-3000:]
  mine, its = map(int, done.stdout.split("bytes")[1].split())
  # Ten utterances or more are read after the first step, 160 kB each.
  assert its > 1_000_000 > 20 * mine

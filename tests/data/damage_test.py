"""Damaged records in training: named, counted, replaced up to the limit."""

import collections

import numpy as np
import pytest

from tf_pcc.data import batching, index, records, shards, text
from tf_pcc.data.utterances import Utterance

RATE = 100
TOKENIZER = text.CharacterTokenizer("AB ")


@pytest.fixture
def make(tmp_path):
  """A function (damaged ids) -> records of 40, the longer half odd."""

  def write(damaged):
    pairs = [
      (
        Utterance(f"u{i}", "", "AB"[i % 2] * (i % 4 + 1)),
        np.full(50 + 100 * (i % 2), i + 1, np.int16),
      )
      for i in range(40)
    ]
    records.write_records(
      pairs, tmp_path / "r", sample_rate=RATE, progress=False
    )
    opened = records.Records(tmp_path / "r")
    path = tmp_path / "r" / index.shard_name(0, 1)
    content = bytearray(path.read_bytes())
    for name in damaged:
      number = int(name[1:])
      sound = np.full(50 + 100 * (number % 2), number + 1, "<i2").tobytes()
      content[content.find(sound)] ^= 64
    path.write_bytes(bytes(content))
    return opened

  return write


def _batches(opened, limit, **kwargs):
  return batching.Batches(
    opened, TOKENIZER, 4, (1, 2), damaged_limit=limit, **kwargs
  )


def _rows(batches, step):
  """Numbers of the utterances seen and the lengths of their labels."""
  audio, length, _, labels = batches.batch(step)
  number = audio[:, 0].astype(int) - 1
  return list(zip(number.tolist(), length.tolist(), labels.tolist()))


def test_the_first_ends_training_with_its_name(make):
  batches = _batches(make(["u7"]), 0.0)
  with pytest.raises(
    shards.DamagedRecord,
    match=r"00000-of-00001.*'u7'.*CRC32C.*restore.*"
    "damaged_limit=0.0, damaged=1, utterances=40",
  ) as error:
    for step in range(len(batches)):
      batches.batch(step)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  "damaged", [["u7"], ["u7", "u9", "u11"], ["u38", "u39"]]
)
def test_the_next_of_its_bucket_takes_its_place(make, damaged):
  batches = _batches(make(damaged), 0.1)
  assert batches.damaged == {}
  for step in range(2 * len(batches)):
    expected = []
    for name in batches.ids(step):
      number = int(name[1:])
      # The bucket's members are every second utterance, in a circle.
      while f"u{number}" in damaged:
        number = (number + 2) % 40
      samples = 50 + 100 * (number % 2)
      expected.append((number, samples, number % 4 + 1))
    assert _rows(batches, step) == expected
  assert set(batches.damaged) == set(damaged)
  assert all("CRC32C" in what for what in batches.damaged.values())


def test_one_above_the_limit_ends_training(make, tmp_path):
  damaged = [f"u{i}" for i in range(5)]
  _read_all(_batches(make(damaged), 0.125))
  again = records.Records(tmp_path / "r")
  with pytest.raises(shards.DamagedRecord, match="damaged=5, utterances=40"):
    _read_all(_batches(again, 0.12))


def _read_all(batches):
  for step in range(len(batches)):
    batches.batch(step)


def test_a_bucket_without_a_whole_record(make):
  damaged = [f"u{i}" for i in range(1, 40, 2)]
  with pytest.raises(shards.DamagedRecord, match="is damaged"):
    _read_all(_batches(make(damaged), 0.9))


def test_an_insertion_is_not_replaced(make):
  opened = make(["u7"])
  with pytest.raises(shards.DamagedRecord, match="'u7'"):
    _read_all(
      _batches(
        opened,
        0.9,
        inserted=[batching.Insertion(opened, 7, 10)],
        total_steps=10,
      )
    )


def test_the_order_of_the_others_stays(make, tmp_path):
  whole = _batches(make([]), 0.0)
  seen = collections.Counter()
  expected = [_rows(whole, step) for step in range(10)]
  batches = _batches(_damage(tmp_path, "u8"), 0.1)
  for step in range(10):
    for before, after in zip(expected[step], _rows(batches, step)):
      seen[before == after] += 1
      assert before == after or before[0] == 8 and after[0] == 10
  assert seen[False] == 1


def _damage(folder, name):
  path = folder / "r" / index.shard_name(0, 1)
  number = int(name[1:])
  content = bytearray(path.read_bytes())
  content[content.find(np.full(50, number + 1, "<i2").tobytes())] ^= 1
  path.write_bytes(bytes(content))
  return records.Records(folder / "r")


def test_inside_a_data_set_the_error_is_the_same(make):
  batches = _batches(make(["u7"]), 0.0)
  with (
    pytest.raises(shards.DamagedRecord, match="'u7'.*damaged=1") as error,
    shards.damage_named(),
  ):
    for _ in batches.dataset(stop_step=len(batches)):
      pass
  assert "\n" not in str(error.value) and "Traceback" not in str(error.value)


def test_other_errors_of_data_sets_stay():
  import tensorflow as tf

  with pytest.raises(tf.errors.OutOfRangeError), shards.damage_named():
    raise tf.errors.OutOfRangeError(None, None, "the end")


@pytest.mark.parametrize("limit", [-0.1, 1.0, float("nan")])
def test_limits_out_of_range(make, limit):
  with pytest.raises(ValueError, match="damaged_limit="):
    _batches(make([]), limit)

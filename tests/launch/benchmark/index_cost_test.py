"""launch.benchmark index: made records that open, and one small run."""

import json

import numpy as np
import pytest

from launch.benchmark import index_cost
from tf_pcc.data import assembly, index, records, shards, synthetic, text

pytest.importorskip("pyarrow", reason="large records have an Arrow index")


def test_made_records_are_records(tmp_path, monkeypatch):
  monkeypatch.setattr(index_cost, "_OF_A_SHARD", 1500)
  index_cost.make(str(tmp_path), 4000)
  opened = records.Records(tmp_path)
  assert len(opened) == 4000 and len(opened.paths()) == 3
  names = [opened.ids[i] for i in (0, 1499, 1500, 3999)]
  index_cost.fill(str(tmp_path), names)
  for name in names:
    row = opened.ids.index(name)
    assert len(opened.read(row)) == opened.samples[row]
  with pytest.raises(shards.DamagedRecord):
    opened.read(1)


def test_all_of_a_made_shard_can_be_scanned(tmp_path):
  index_cost.make(str(tmp_path), 1100)
  opened = records.Records(tmp_path)
  index_cost.fill(str(tmp_path), list(opened.ids))
  found = [
    int(r["id"].decode()[1:]) for r in opened.dataset().as_numpy_iterator()
  ]
  assert found == list(range(1100))


def test_a_small_run(tmp_path):
  found = index_cost.measure(str(tmp_path), 1200, 16)
  assert found["utterances"] == 1200
  for name in ("first", "later"):
    assert 0 < found[name]["opened"] <= found[name]["cpu_seconds"]
    assert found[name]["gigabytes"] > 0
  assert found["later"]["steps"][1] > found["later"]["steps_per_epoch"]
  json.dumps(found)
  assert (tmp_path / index.COLUMNS_FILE).exists()


def test_counts_of_templates_are_those_of_all(tmp_path):
  index_cost.make(str(tmp_path), 2300)
  texts = records.Records(tmp_path).texts
  tokenizer = text.WordTokenizer(synthetic.COMMON_WORDS)
  expected = assembly.label_counts(tokenizer, tuple(texts))
  index_cost.count_labels(str(tmp_path))
  (path,) = tmp_path.glob("label_counts-*")
  before = path.stat().st_mtime_ns
  np.testing.assert_array_equal(
    assembly.label_counts(tokenizer, texts), expected
  )
  assert path.stat().st_mtime_ns == before

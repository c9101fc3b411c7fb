"""Cells of figures, known and unknown."""

from launch.plan import cells

FOUND = {"parameters": 5, "flops": 7, "fits": False, "seconds_to_compile": 1.0}


def test_numbers():
  assert cells.gib(3 * 2**29) == "1.50"
  assert cells.giga(2.5e9) == "2.500" and cells.giga(3e6, 1e6, 1) == "3.0"
  assert cells.more(1.5, 1.0) == "+50.00%"
  assert cells.less({"a": 5}, {"a": 3}, "a") == 2
  assert cells.known(0) == 0


def test_what_is_unknown():
  assert cells.gib(None) == cells.giga(None) == cells.known(None) == "-"
  assert cells.more(None, 1.0) == cells.more(1.0, None) == "-"
  assert cells.less({"a": None}, {"a": 3}, "a") is None
  assert cells.less({"a": 3}, {"a": None}, "a") is None


def test_rows():
  collectives = [["all-reduce", 2**20, 3], ["all-to-all", 8, 1]]
  found = FOUND | {
    "compiles": True,
    "memory": {"needed": 2**30},
    "collectives_compiled": collectives,
    "compiler_flops": 9,
    "compiler_bytes": 4,
  }
  row = cells.row(found)
  assert row["needed"] == "1.00" and row["flops"] == 9 and row["bytes"] == 4
  assert (row["collectives"], row["small"], row["reduced"]) == (2, 1, 2**20)
  # The complaint names no more than a part.
  crowded = FOUND | {"compiles": False, "memory": {"needed": 2**34}}
  row = cells.row(crowded)
  assert row["needed"] == "over 16.00" and row["counted_flops"] == 7
  unknown = ("flops", "bytes", "collectives", "small", "reduced")
  assert all(row[name] is None for name in unknown)
  assert cells.row({**crowded, "memory": {}})["needed"] == "-"


def test_markdown():
  table = cells.markdown([{"a": 1, "b ": "-"}, {"a": 2, "b ": "x"}])
  assert table == "| a | b  |\n| --- | --- |\n| 1 | - |\n| 2 | x |"

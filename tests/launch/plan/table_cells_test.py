"""Cells of numbers, known and unknown."""

from launch.plan import step, table_cells
from tests.launch.plan import steps


def test_numbers():
  assert table_cells.gib(3 * 2**29) == "1.50"
  assert table_cells.giga(2.5e9) == "2.500"
  assert table_cells.giga(3e6, 1e6, 1) == "3.0"
  assert table_cells.more(1.5, 1.0) == "+50.00%"
  assert table_cells.less(5, 3) == 2
  assert table_cells.known(0) == 0


def test_what_is_unknown():
  for cell in (table_cells.gib, table_cells.giga, table_cells.known):
    assert cell(None) == "-"
  for pair in ((None, 1.0), (1.0, None)):
    assert table_cells.more(*pair) == "-"
    assert table_cells.less(*pair) is None


def test_of_a_step():
  found = steps.compiled(
    2**30,
    collectives_compiled=(
      step.CompiledCollective("all-reduce", 2**20, 3),
      step.CompiledCollective("all-to-all", 8, 1),
    ),
    compiler_flops=9.0,
    compiler_bytes=4.0,
  )
  numbers = table_cells.numbers(found)
  assert numbers.needed == "1.00" and numbers.found is found
  assert numbers.flops == 9 and numbers.bytes == 4
  assert (numbers.collectives, numbers.small) == (2, 1)
  assert numbers.reduced == 2**20


def test_of_a_step_that_does_not_fit():
  # The complaint names no more than a part.
  numbers = table_cells.numbers(steps.crowded(2**34, 2**33))
  assert numbers.needed == "over 16.00"
  unknown = ("flops", "bytes", "collectives", "small", "reduced")
  assert all(getattr(numbers, name) is None for name in unknown)
  assert table_cells.numbers(steps.TRACED).needed == "-"


def test_markdown():
  table = table_cells.markdown([{"a": 1, "b": "-"}, {"a": 2, "b": "x"}])
  assert table == "| a | b |\n| --- | --- |\n| 1 | - |\n| 2 | x |"

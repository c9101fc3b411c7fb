"""Two programs say what a third is where everything grows in a line."""

import pytest

from launch.plan import extension


def program(blocks, compiles=True):
  parts = {
    "arguments": 100 + 10 * blocks,
    "temporaries": 1000 + 300 * blocks,
    "code": 7,
    "outputs": 4,
  }
  needed = sum(parts.values())
  return {
    "parameters": 50 + 3 * blocks,
    "flops": 900 + 70 * blocks,
    "compiler_flops": 901 + 71 * blocks,
    "compiler_bytes": 500 + 11 * blocks,
    "collectives_compiled": [["all-reduce", 4 * (50 + 3 * blocks), 9]]
    + [["all-reduce", 64, 1]],
    "memory": parts | {"needed": needed, "available": 6000},
    "compiles": compiles,
    "fits": needed <= 6000,
    "seconds_to_compile": 5.0,
  }


@pytest.mark.parametrize("blocks", [3, 4, 16, 17])
def test_blocks(blocks):
  found = extension.of_blocks({4: program(4), 2: program(2)}, blocks)
  want = program(blocks)
  for name in ("parameters", "flops", "compiler_flops", "compiler_bytes"):
    assert found[name] == want[name]
  assert found["memory"] == want["memory"] and found["fits"] == want["fits"]
  assert sorted(found["collectives_compiled"]) == sorted(
    want["collectives_compiled"]
  )
  assert found["seconds_to_compile"] == 10


def test_what_does_not_compile():
  found = extension.of_blocks({2: program(2), 4: program(4, False)}, 16)
  assert not found["compiles"] and not found["fits"] and not found["memory"]
  assert found["parameters"] == program(16)["parameters"]


@pytest.mark.parametrize(
  ("available", "largest"), [(900, 4), (1700, 8), (3299, 8), (3300, 16), (9, 0)]
)
def test_the_largest_batch(available, largest):
  memory = {"needed": 900, "temporaries": 800, "available": available}
  assert extension.largest_batch(memory, 4) == largest


@pytest.mark.parametrize(("available", "largest"), [(900, 4), (899, 0)])
def test_nothing_that_grows_with_the_batch(available, largest):
  memory = {"needed": 900, "temporaries": 0, "available": available}
  assert extension.largest_batch(memory, 4) == largest

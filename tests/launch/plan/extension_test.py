"""Two programs say what a third is where everything grows in a line."""

import pytest

from launch.plan import extension, step
from tests.launch.plan import steps


def program(blocks, compiles=True):
  parts = {
    "arguments": 100 + 10 * blocks,
    "temporaries": 1000 + 300 * blocks,
    "code": 7,
    "outputs": 4,
  }
  found = {
    "parameters": 50 + 3 * blocks,
    "flops": 900 + 70 * blocks,
    "seconds_to_compile": 5.0,
  }
  if not compiles:
    return steps.crowded(9000, 6000, **found)
  return steps.compiled(
    compiler_flops=901 + 71 * blocks,
    compiler_bytes=500 + 11 * blocks,
    collectives_compiled=(
      step.CompiledCollective("all-reduce", 4 * (50 + 3 * blocks), 9),
      step.CompiledCollective("all-reduce", 64, 1),
    ),
    memory=step.Memory(sum(parts.values()), 6000, **parts),
    **found,
  )


@pytest.mark.parametrize("blocks", [3, 4, 16, 17])
def test_blocks(blocks):
  found = extension.of_blocks({4: program(4), 2: program(2)}, blocks)
  want = program(blocks)
  for name in ("parameters", "flops", "compiler_flops", "compiler_bytes"):
    assert getattr(found, name) == getattr(want, name)
  assert found.memory == want.memory and found.fits == want.fits
  assert sorted(found.collectives_compiled) == sorted(want.collectives_compiled)
  assert found.seconds_to_compile == 10
  # What is not known of all blocks is not claimed.
  assert not found.flops_by_layer and found.compiler is None


@pytest.mark.parametrize("too_large", [2, 4])
def test_what_does_not_compile(too_large):
  programs = {blocks: program(blocks, blocks != too_large) for blocks in (2, 4)}
  found = extension.of_blocks(programs, 16)
  assert not found.compiles and not found.fits and not found.memory
  assert found.compiler_flops is None and not found.collectives_compiled
  assert found.parameters == program(16).parameters


@pytest.mark.parametrize(
  ("available", "largest"), [(900, 4), (1700, 8), (3299, 8), (3300, 16), (9, 0)]
)
def test_the_largest_batch(available, largest):
  memory = step.Memory(900, available, 100, 800, 0, 0)
  assert extension.largest_batch(memory, 4) == largest


@pytest.mark.parametrize(("available", "largest"), [(900, 4), (899, 0)])
def test_nothing_that_grows_with_the_batch(available, largest):
  memory = step.Memory(900, available, 900, 0, 0, 0)
  assert extension.largest_batch(memory, 4) == largest

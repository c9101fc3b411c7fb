"""What is known of a program from those of smaller models and other batches.

Compiling all blocks of a large encoder takes long where cores are few, and all
blocks are alike: what two programs need says what a third would.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from launch.plan import step

_PARTS = ("arguments", "temporaries", "code", "outputs")


def of_blocks(programs: Mapping[int, step.Step], blocks: int) -> step.Step:
  """A model of some blocks, on a line through two of fewer.

  Parameters and counted operations are exact; memory and bytes are not, since
  the compiler lays out each program for itself.

  Args:
    programs: two numbers of blocks to what
      `launch.plan.planning.Planner.compile` found of them.
    blocks: of the model that is asked for.

  Returns:
    The step, without what differs from layer to layer; `seconds_to_compile` is
    that of both. If one of the two does not compile, `compiles` is False and
    there is no memory.
  """
  (few, first), (more, second) = sorted(programs.items())

  def line(name: str, low: Any = first, high: Any = second) -> float:
    low, high = getattr(low, name), getattr(high, name)
    return low + (high - low) * (blocks - few) / (more - few)

  found = dataclasses.replace(
    second,
    parameters=round(line("parameters")),
    state_bytes=round(line("state_bytes")),
    flops=round(line("flops")),
    flops_by_layer={},
    compiler=None,
    seconds_to_compile=first.seconds_to_compile + second.seconds_to_compile,
  )
  compiles = first.compiles and second.compiles
  if not compiles or first.memory is None or second.memory is None:
    return dataclasses.replace(
      found,
      compiles=False,
      memory=None,
      collectives_compiled=(),
      compiler_flops=None,
      compiler_bytes=None,
    )
  parts = {p: line(p, first.memory, second.memory) for p in _PARTS}
  sums = [_bytes(s.collectives_compiled) for s in (first, second)]
  *others, gradients = sorted(
    second.collectives_compiled, key=lambda c: c.bytes
  )
  # The gradients' grows with the model; the others do not.
  total = sums[0] + (sums[1] - sums[0]) * (blocks - few) / (more - few)
  gradients = gradients._replace(bytes=total - _bytes(others))
  return dataclasses.replace(
    found,
    memory=step.Memory(sum(parts.values()), second.memory.available, **parts),
    compiler_flops=line("compiler_flops"),
    compiler_bytes=line("compiler_bytes"),
    collectives_compiled=(*others, gradients),
  )


def largest_batch(memory: step.Memory, batch: int) -> int:
  """The largest batch of a core, if temporaries grow with it in proportion.

  Args:
    memory: of a program that compiles.
    batch: utterances that it is of.

  Returns:
    Utterances, from 8 on in steps of 8; where no temporaries grow, `batch` or,
    when that does not fit, 0.
  """
  if not memory.temporaries:
    return batch if memory.fits else 0
  fixed = memory.needed - memory.temporaries
  room = (memory.available - fixed) / memory.temporaries * batch
  return max(int(room // 8 * 8 if room >= 8 else room), 0)


def _bytes(collectives: Sequence[step.CompiledCollective]) -> float:
  return sum(c.bytes for c in collectives)

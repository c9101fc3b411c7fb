"""How long a step could take, from the chip's figures: an estimate.

A roofline: the step takes as long as the slower of its operations at the chip's
peak and its memory traffic at the chip's bandwidth, and then the all-reduce.
No program reaches it; `EFFICIENCY` is a guess of how much of it one does, not a
measurement.
"""

import dataclasses
from collections.abc import Sequence

from launch.plan import step, topologies

EFFICIENCY = 0.4
_LARGE = 2**16


@dataclasses.dataclass(frozen=True)
class StepTime:
  """Seconds of a step.

  Attributes:
    compute: at the chip's peak.
    memory: at the bandwidth of its HBM.
    all_reduce: of the sum over cores, at the bandwidth between chips.
    ideal: the roofline of the three.
    estimate: the roofline over `EFFICIENCY`.
    assumptions: what is taken for granted, a sentence each.
  """

  compute: float
  memory: float
  all_reduce: float
  ideal: float
  estimate: float
  assumptions: tuple[str, ...]


def step_time(found: step.Step, topology: topologies.Topology) -> StepTime:
  """Estimates how long a step takes.

  Args:
    found: a step that compiles.
    topology: the slice it was compiled for.
  """
  chip, cores = topology.chip, topology.cores
  flops = max(found.flops, found.compiler_flops or 0)
  compute = flops / (chip.peak_flops / chip.cores)
  memory = found.compiler_bytes / (chip.memory_bandwidth / chip.cores)
  reduced = sum(c.bytes for c in found.collectives_compiled)
  # A ring passes nearly twice what it adds up.
  passed = 2 * (cores - 1) / cores * reduced
  all_reduce = passed / (chip.all_reduce_bandwidth / chip.cores)
  ideal = max(compute, memory) + all_reduce
  return StepTime(
    compute=compute,
    memory=memory,
    all_reduce=all_reduce,
    ideal=ideal,
    estimate=ideal / EFFICIENCY,
    assumptions=(
      f"{chip.name}: {chip.peak_flops / 1e12:.0f} TFLOP/s bfloat16, "
      f"{chip.memory_bandwidth / 1e9:.0f} GB/s of HBM, "
      f"{chip.all_reduce_bandwidth / 1e9:.0f} GB/s all-reduced, a chip",
      "the larger of the counted and the compiler's operations, the compiler's "
      "bytes; what is in a loop counts once in both of the compiler's",
      "the sum over cores overlaps with nothing, and input never waits",
      f"{EFFICIENCY:.0%} of that is reached, a guess",
    ),
  )


def small_collectives(collectives: Sequence[step.Collective]) -> int:
  """Number of collectives below 64 KiB, whose time is waiting."""
  return sum(c.bytes < _LARGE for c in collectives)

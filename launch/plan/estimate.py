"""How long a step could take, from the chip's figures: an estimate.

A roofline: the step takes as long as the slower of its operations at the chip's
peak and its memory traffic at the chip's bandwidth, and then the all-reduce.
No program reaches it; `EFFICIENCY` is a guess of how much of it one does, not a
measurement.
"""

EFFICIENCY = 0.4
_LARGE = 2**16


def step_time(found, topology):
  """Seconds of a step.

  Args:
    found: dict from `launch.plan.planning.Planner.compile`.
    topology: `launch.plan.topologies.Topology`.

  Returns:
    dict: "compute", "memory" and "all_reduce", seconds at the chip's limits;
    "ideal", their roofline; "estimate", that over the efficiency;
    "assumptions", list of str.
  """
  chip, cores = topology.chip, topology.cores
  flops = max(found["flops"], found["compiler_flops"] or 0)
  compute = flops / (chip.peak_flops / chip.cores)
  memory = found["compiler_bytes"] / (chip.memory_bandwidth / chip.cores)
  reduced = sum(size for _, size, _ in found["collectives_compiled"])
  # A ring passes nearly twice what it adds up.
  passed = 2 * (cores - 1) / cores * reduced
  all_reduce = passed / (chip.all_reduce_bandwidth / chip.cores)
  ideal = max(compute, memory) + all_reduce
  return {
    "compute": compute,
    "memory": memory,
    "all_reduce": all_reduce,
    "ideal": ideal,
    "estimate": ideal / EFFICIENCY,
    "assumptions": [
      f"{chip.name}: {chip.peak_flops / 1e12:.0f} TFLOP/s bfloat16, "
      f"{chip.memory_bandwidth / 1e9:.0f} GB/s of HBM, "
      f"{chip.all_reduce_bandwidth / 1e9:.0f} GB/s all-reduced, a chip",
      "the larger of the counted and the compiler's operations, the compiler's "
      "bytes; what is in a loop counts once in both of the compiler's",
      "the sum over cores overlaps with nothing, and input never waits",
      f"{EFFICIENCY:.0%} of that is reached, a guess",
    ],
  }


def small_collectives(collectives):
  """Number of collectives below 64 KiB, whose time is waiting.

  Args:
    collectives: list of (kind, bytes, tensors).

  Returns:
    int.
  """
  return sum(size < _LARGE for _, size, _ in collectives)

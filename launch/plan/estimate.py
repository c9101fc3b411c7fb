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
# Bytes a second at which a checkpoint goes to a bucket, a guess.
SAVING_RATE = 100e6
# What a preempted TPU VM has between SIGTERM and its end.
NOTICE_SECONDS = 30.0
# Of a chip-hour's price, what a preemptible one costs; a guess.
SPOT_SHARE = 0.4
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

  Returns:
    The estimate and its parts.

  Raises:
    ValueError: If the step does not compile.
  """
  if found.compiler_bytes is None:
    raise ValueError(
      "step_time takes a step that compiles. Received: compiler_bytes=None"
    )
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


@dataclasses.dataclass(frozen=True)
class Stopping:
  """From SIGTERM to a saved checkpoint, in seconds.

  Attributes:
    steps_per_call: steps that the device takes before the host looks.
    finishing: of those steps, by the estimate, at the most.
    state_bytes: of the checkpoint.
    saving: of the checkpoint, at `SAVING_RATE`.
    seconds: both together.
  """

  steps_per_call: int
  finishing: float
  state_bytes: int
  saving: float
  seconds: float


def stopping(steps_per_call: int, seconds: float, state_bytes: int) -> Stopping:
  """How long a run takes to stop.

  Args:
    steps_per_call: of the config.
    seconds: of a step.
    state_bytes: of a checkpoint.

  Returns:
    `Stopping`.

  Example:

  >>> stopping(10, 0.25, 50_000_000).seconds
  3.0
  """
  finishing, saving = steps_per_call * seconds, state_bytes / SAVING_RATE
  return Stopping(
    steps_per_call, finishing, state_bytes, saving, finishing + saving
  )


@dataclasses.dataclass(frozen=True)
class Cost:
  """Of a run, in the currency of the price.

  Attributes:
    price: of a chip-hour.
    total: of the run.
    spot_price: of a preemptible chip-hour.
    spot_is_guessed: whether that is `SPOT_SHARE` of the price.
    spot_total: of the run, without what preemptions repeat.
  """

  price: float
  total: float
  spot_price: float
  spot_is_guessed: bool
  spot_total: float


def cost(
  chip_hours: float, price: float, spot_price: float | None = None
) -> Cost:
  """What a run costs.

  Args:
    chip_hours: of the run.
    price: of a chip-hour.
    spot_price: of a preemptible chip-hour; None: `SPOT_SHARE` of
      the price.

  Returns:
    `Cost`.

  Example:

  >>> cost(100.0, 2.0).spot_total
  80.0
  """
  guessed = spot_price is None
  spot = price * SPOT_SHARE if guessed else spot_price
  return Cost(price, price * chip_hours, spot, guessed, spot * chip_hours)


def small_collectives(collectives: Sequence[step.CompiledCollective]) -> int:
  """Number of collectives below 64 KiB, whose time is waiting.

  Args:
    collectives: of a compiled step.

  Returns:
    int.
  """
  return sum(c.bytes < _LARGE for c in collectives)

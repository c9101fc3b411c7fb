"""TPU slices: their names, their cores, and what a chip can do.

Figures of a chip are those of Google's documentation,
https://docs.cloud.google.com/tpu/docs/v4, v5e, v5p and v6e. Where it gives an
all-reduce bandwidth a pod, that is divided by the pod's chips; v5p's is half of
the bidirectional bandwidth, as it is for v5e. The memory that a program can use
is what libtpu 0.0.42.1 says when one does not fit.
"""

import dataclasses
import math
import re

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """One generation.

  Attributes:
    name: as in a topology's name.
    cores: replicas a chip. On v5p the two cores of a chip are one replica.
    memory: bytes of HBM that a replica's program can use.
    peak_flops: bfloat16 operations a second of a chip.
    memory_bandwidth: bytes a second of a chip.
    all_reduce_bandwidth: bytes a second that a chip all-reduces in a pod.
    accelerator: pattern of gcloud's --accelerator-type.
    accelerator_units: what its number counts, a chip.
    shapes: slices of at most 256 cores.
    most_of_one_host: chips of the largest slice that has one host; those of a
      larger one have four each.
  """

  name: str
  cores: int
  memory: int
  peak_flops: float
  memory_bandwidth: float
  all_reduce_bandwidth: float
  accelerator: str
  accelerator_units: int
  shapes: tuple[str, ...]
  most_of_one_host: int


_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_DEEP = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8")
CHIPS = {
  chip.name: chip
  for chip in (
    Chip(
      name="v4",
      cores=2,
      memory=int(15.25 * _GIB),
      peak_flops=275e12,
      memory_bandwidth=1200e9,
      all_reduce_bandwidth=1.1e15 / 4096,
      accelerator="v4-{}",
      accelerator_units=2,
      shapes=_DEEP,
      most_of_one_host=4,
    ),
    Chip(
      name="v5e",
      cores=1,
      memory=int(15.75 * _GIB),
      peak_flops=197e12,
      memory_bandwidth=819e9,
      all_reduce_bandwidth=51.2e12 / 256,
      accelerator="v5litepod-{}",
      accelerator_units=1,
      shapes=_FLAT,
      most_of_one_host=8,
    ),
    Chip(
      name="v5p",
      cores=1,
      memory=int(95.74 * _GIB),
      peak_flops=459e12,
      memory_bandwidth=2765e9,
      all_reduce_bandwidth=600e9,
      accelerator="v5p-{}",
      accelerator_units=2,
      shapes=(*_DEEP, "4x8x8"),
      most_of_one_host=4,
    ),
    Chip(
      name="v6e",
      cores=1,
      memory=int(31.25 * _GIB),
      peak_flops=918e12,
      memory_bandwidth=1638e9,
      all_reduce_bandwidth=102.4e12 / 256,
      accelerator="v6e-{}",
      accelerator_units=1,
      shapes=_FLAT,
      most_of_one_host=8,
    ),
  )
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """A slice.

  Attributes:
    name: such as "v5e:2x4".
    chip: `Chip`.
    chips: number of chips.
  """

  name: str
  chip: Chip
  chips: int

  @property
  def cores(self) -> int:
    """Replicas of the slice."""
    return self.chips * self.chip.cores

  @property
  def hosts(self) -> int:
    """VMs of the slice, each of which feeds its own cores."""
    return 1 if self.chips <= self.chip.most_of_one_host else self.chips // 4

  @property
  def accelerator_type(self) -> str:
    """What gcloud calls it, such as "v5litepod-8"."""
    number = self.chips * self.chip.accelerator_units
    return self.chip.accelerator.format(number)


def known() -> list[str]:
  """Names of all slices, the smaller first."""
  return [f"{c.name}:{shape}" for c in CHIPS.values() for shape in c.shapes]


def parse(name: str) -> Topology:
  """The slice of a name.

  Args:
    name: one of `known()`, or an accelerator type, such as "v5litepod-8".

  Returns:
    The slice.

  Raises:
    ValueError: If there is none, listing those that are.

  Example:

  >>> parse("v5litepod-8").name, parse("v5e:4x4").hosts
  ('v5e:2x4', 4)
  """
  slices = {each: _slice(each) for each in known()}
  if name in slices:
    return slices[name]
  types = {each.accelerator_type: each for each in slices.values()}
  if name in types:
    return types[name]
  for chip in CHIPS.values():
    if re.fullmatch(re.escape(chip.accelerator).replace(r"\{\}", ".*"), name):
      own = [t for t, each in types.items() if each.chip is chip]
      raise ValueError(
        f"An accelerator type of {chip.name} must be one of {', '.join(own)}, "
        "the slices of at most 256 cores. Received: "
        f"topology={name!r}"
      )
  raise ValueError(
    f"topology must be one of {', '.join(known())}, or an accelerator type, "
    f"such as v5litepod-8. Received: topology={name!r}"
  )


def _slice(name):
  generation, shape = name.split(":")
  return Topology(
    name, CHIPS[generation], math.prod(map(int, shape.split("x")))
  )

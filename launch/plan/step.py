"""What is known of one core's training step: one record, with units."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any


class CompiledCollective(typing.NamedTuple):
  """An operation of the compiled program in which cores wait for each other.

  Attributes:
    kind: HLO's name, such as "all-reduce".
    bytes: what a core gets.
    tensors: number of tensors in it.
  """

  kind: str
  bytes: float
  tensors: int


class Traffic(typing.NamedTuple):
  """What the instructions of one layer and kind read and write.

  Attributes:
    layer: as of `layers.of`; "an argument" where weights or the batch are
      copied, "no layer" where nothing is known.
    operation: TensorFlow's name of its kind, such as "MatMul".
    gradient: whether it is of the backward pass.
    count: number of instructions; one in a loop counts once.
    bytes: read and written, padding included.
    hbm_bytes: of these to and from HBM, not the core's own memory.
  """

  layer: str
  operation: str
  gradient: bool
  count: int
  bytes: float
  hbm_bytes: float


@dataclasses.dataclass(frozen=True)
class Memory:
  """HBM of one core, in bytes.

  Attributes:
    needed: by the program. If it does not fit, what the compiler's complaint
      names, which may be a part only; then the four parts are None.
    available: to a program.
    arguments: weights, optimizer state and the batch.
    temporaries: activations, gradients and what else the step makes.
    code: the program itself.
    outputs: results that replace no argument.
  """

  needed: float
  available: int
  arguments: float | None = None
  temporaries: float | None = None
  code: float | None = None
  outputs: float | None = None

  @property
  def spare(self) -> float:
    """Bytes left; below 0 so many are missing."""
    return self.available - self.needed

  @property
  def fits(self) -> bool:
    """Whether the program can be loaded."""
    return self.needed <= self.available


@dataclasses.dataclass(frozen=True)
class Compilation:
  """The compiler's own words, kept so that a better reading needs no new run.

  Attributes:
    error: its whole complaint, or None.
    sizes: bytes by libtpu's names: argument, temp, generated_code, output,
      alias.
    collectives: lines of the program's HLO that have collectives.
  """

  error: str | None = None
  sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
  collectives: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Step:
  """A training step of one core, as it was traced and compiled.

  The first fields are known of every step that can be traced, those from
  `where` on are empty or None until it is compiled, or if it is refused.

  Attributes:
    parameters: number of trainable weights.
    state_bytes: of the variables that a checkpoint saves.
    flops: operations of the step, counted from its layers' products.
    flops_by_layer: the same, a layer.
    flops_unknown: kinds of ops that may hold products and were not counted.
    collectives: kind of a traced collective to (how many, bytes a core gives).
    clip: where the clip of the gradients is to their sum over cores: "before",
      "after", "none" or "mixed".
    outside_scope: captures that are no variables of the strategy.
    suspects: what the bridge lets through and a TPU does not, to its ops.
    rejected: why the bridge or the lowering refuses the step, or None.
    tensorflow: version that traced it.
    where: kind of a refused or suspect op to its places in the model.
    compiles: whether the compiler took it.
    error: the first line of the compiler's complaint, or None.
    memory: of a core, or None if nothing is known.
    collectives_compiled: in the program's order; one in a loop counts once.
    compiler_flops: operations by the compiler; a loop's body counts once.
    compiler_bytes: bytes read and written, by the compiler, the same way.
    traffic: what reads and writes them, by layer, the largest first.
    compiler_memory: bytes that compiling took on this machine.
    compiler_cpu_seconds: CPU time that compiling took on this machine.
    seconds_to_compile: wall time of tracing and compiling on this machine.
    effort: XLA's, from -1 to 1; 0 is its own.
    compiler: the compiler's own words, or None.
  """

  parameters: int
  state_bytes: int
  flops: int
  flops_by_layer: Mapping[str, int]
  flops_unknown: tuple[str, ...]
  collectives: Mapping[str, tuple[int, int]]
  clip: str
  outside_scope: tuple[str, ...]
  suspects: Mapping[str, tuple[str, ...]]
  rejected: str | None
  tensorflow: str
  where: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  compiles: bool = False
  error: str | None = None
  memory: Memory | None = None
  collectives_compiled: tuple[CompiledCollective, ...] = ()
  compiler_flops: float | None = None
  compiler_bytes: float | None = None
  traffic: tuple[Traffic, ...] = ()
  compiler_memory: int | None = None
  compiler_cpu_seconds: float | None = None
  seconds_to_compile: float = 0.0
  effort: float = 0.0
  compiler: Compilation | None = None

  @property
  def fits(self) -> bool:
    """Whether it compiles and a core has the memory for it."""
    return self.compiles and self.memory is not None and self.memory.fits


def from_json(value: Mapping[str, Any]) -> Step:
  """The step that `dataclasses.asdict` made a dict of, read from JSON.

  Args:
    value: of `json.loads`.

  Returns:
    The same step.

  Raises:
    TypeError: If a field is missing, unknown or of another kind.
  """
  if not isinstance(value, Mapping):
    raise TypeError(f"no object but {type(value).__name__}")
  value = {name: _tuples(part) for name, part in value.items()}
  if value.get("memory") is not None:
    value["memory"] = Memory(**value["memory"])
  if value.get("compiler") is not None:
    value["compiler"] = Compilation(**value["compiler"])
  value["collectives_compiled"] = tuple(
    CompiledCollective(*each) for each in value.get("collectives_compiled", ())
  )
  value["traffic"] = tuple(Traffic(*each) for each in value.get("traffic", ()))
  return Step(**value)


def _tuples(value):
  if isinstance(value, list):
    return tuple(map(_tuples, value))
  if isinstance(value, dict):
    return {name: _tuples(part) for name, part in value.items()}
  return value

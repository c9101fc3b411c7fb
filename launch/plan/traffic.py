"""What a compiled program reads and writes, by the layer it comes from.

A fusion reads its operands and writes its results; so does a copy between HBM
and the core's own memory. XLA's estimate of the bytes of a program adds up the
same; what is left out here is what it adds for custom calls. Sizes are those in
memory: the last dimensions are padded to tiles, given in a shape's layout as
in `{1,0:T(8,128)S(1)}`, where S(1) is the core's own memory and not HBM. The
body of a loop counts once.
"""

import collections
import re
from collections.abc import Iterator
from typing import NamedTuple

from launch.plan import hlo, layers, step

_COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.-]+) .*\{$")
_INSTRUCTION = re.compile(
  r"^ +(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<type>\(.*?\)|\S+) "
  r"(?P<kind>[\w-]+)\((?P<operands>.*?)\)(?P<rest>.*)$"
)
_SHAPE = re.compile(
  r"\b(?P<kind>pred|[a-z]+\d+\w*)\[(?P<dimensions>[\d,]*)\]"
  r"(?:\{(?P<order>[\d,]*)(?::(?P<layout>[^}]*))?\})?"
)
_CALLED = re.compile(
  r"(?:body|to_apply|true_computation|false_computation)=%?([\w.-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CALLS = ("call", "conditional", "while")
_MOVES_NOTHING = (
  *_CALLS,
  "after-all",
  "bitcast",
  "constant",
  "get-tuple-element",
  "opt-barrier",
  "parameter",
  "partition-id",
  "tuple",
)
_OF = re.compile(
  r'metadata=\{(?:op_type="(?P<kind>[^"]*)" )?op_name="(?P<name>[^"]*)"'
)
# Operands that are looked at for a name.
_MOST = 64


class _Instruction(NamedTuple):
  name: str
  type: str
  kind: str
  operands: list[str]
  rest: str


def read(text: str) -> list[step.Traffic]:
  """What moves the bytes of a program.

  Args:
    text: a compiled program in HLO, with layouts and the names of operations.

  Returns:
    A `step.Traffic` for each layer and kind of operation, the largest first.
  """
  computations, entry = _parse(text)
  counts = collections.Counter()
  sizes, in_hbm = collections.Counter(), collections.Counter()
  for instructions in _reached(computations, entry):
    for one in instructions.values():
      if one.kind in _MOVES_NOTHING or one.kind.endswith("-done"):
        continue
      source = _source(one, instructions)
      moved = [*_shapes(one.type)]
      if one.kind.endswith("-start"):
        # What is copied to; behind it come the source again and a counter.
        moved = moved[:1]
      for operand in one.operands:
        if operand in instructions:
          moved += _shapes(instructions[operand].type)
      counts[source] += 1
      sizes[source] += sum(size for size, _ in moved)
      in_hbm[source] += sum(size for size, hbm in moved if hbm)
  return [
    step.Traffic(
      layer,
      operation,
      gradient,
      counts[layer, operation, gradient],
      size,
      in_hbm[layer, operation, gradient],
    )
    for (layer, operation, gradient), size in sizes.most_common()
  ]


def _parse(text):
  """The instructions of each computation, by name, and the entry's name."""
  computations, entry, current = {}, "", {}
  for line in text.splitlines():
    if found := _COMPUTATION.match(line):
      current = computations[found["name"]] = {}
      entry = found["name"] if found["entry"] else entry
    elif found := _INSTRUCTION.match(line):
      operands = re.findall(r"%([\w.-]+)", found["operands"])
      current[found["name"]] = _Instruction(
        found["name"], found["type"], found["kind"], operands, found["rest"]
      )
  return computations, entry


def _reached(computations, entry) -> Iterator[dict[str, _Instruction]]:
  """The entry and the bodies of loops and branches, each once.

  Not the inside of fusions, where nothing goes through memory.
  """
  left, seen = [entry], set()
  while left:
    name = left.pop()
    if name in seen or name not in computations:
      continue
    seen.add(name)
    yield computations[name]
    for one in computations[name].values():
      if one.kind in _CALLS:
        left += _CALLED.findall(one.rest)
        for branches in _BRANCHES.findall(one.rest):
          left += re.findall(r"%?([\w.-]+)", branches)


def _shapes(text):
  """(bytes, whether in HBM) of each array of a type."""
  for found in _SHAPE.finditer(text):
    layout = found["layout"] or ""
    yield _bytes(found, layout), not re.search(r"S\([1-9]", layout)


def _bytes(shape, layout):
  dimensions = [int(d) for d in shape["dimensions"].split(",") if d]
  tile = re.match(r"[^S]*?T\(([\d,]+)\)", layout)
  if tile and shape["order"]:
    # The order names the dimension first whose elements are neighbours.
    order = map(int, shape["order"].split(","))
    for length, place in zip(map(int, reversed(tile[1].split(","))), order):
      dimensions[place] = -(-dimensions[place] // length) * length
  return hlo.size_of(shape["kind"], dimensions)


def _source(one, instructions):
  """(layer, operation, whether of a gradient) that an instruction is of.

  What the compiler added has no name, such as copies and the parts of a Fourier
  transform: it counts for the nearest operand that has one.
  """
  near, argument = [one.name], ""
  for name in near:
    if (one := instructions.get(name)) is None:
      continue
    if found := _OF.search(one.rest):
      # An instruction of several operations names all of them.
      name = found["name"].split(";")[0]
      last = layers.without_numbers(name.rpartition("/")[2])
      gradient = name.startswith("gradient")
      return layers.of(name), found["kind"] or last, gradient
    argument = argument or "an argument" * (one.kind == "parameter")
    near += [n for n in one.operands if n not in near]
    if len(near) > _MOST:
      break
  return argument or "no layer", instructions[near[0]].kind, False

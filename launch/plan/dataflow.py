"""What comes before what in a traced step: clips, and sums over cores.

A clip is recognised by its global norm, whoever wrote it: a square root of a
sum over the squares of at least as many tensors as there are gradients. A norm
upstream of a cross-replica operation is a clip before aggregation, one
downstream of it a clip after.

Edges are tensors, and variables: what is assigned and read again in the same
step. No TensorFlow internals are used; the graph is read as a `GraphDef`.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

from launch.plan import tracing

COLLECTIVES = (
  "AllToAll",
  "CollectivePermute",
  "CollectiveAllToAllV2",
  "CollectiveGatherV2",
  "CollectiveReduceV2",
  "CrossReplicaSum",
  "XlaAllReduce",
  "XlaReduceScatter",
)
_ROOTS = ("Sqrt", "Rsqrt", "Pow")
_SUMS = ("AddN", "AddV2", "Add", "Sum", "Pack", "ConcatV2")
_THROUGH = (*_SUMS, "Mul", "Identity", "Reshape", "Cast")


@dataclasses.dataclass(frozen=True)
class Collective:
  """One operation in which cores wait for each other.

  Attributes:
    name: str, of the op.
    kind: str, its type.
    shape: tuple of int, of what one core gives.
    bytes: int, of what one core gives.
    clip_before: whether a global norm is upstream of it.
    clip_after: whether a global norm is downstream of it.
    waits_for: frozenset of the names of collectives upstream of it.
  """

  name: str
  kind: str
  shape: tuple
  bytes: int
  clip_before: bool
  clip_after: bool
  waits_for: frozenset


def collectives(function: tracing.Traced, gradients: int) -> list[Collective]:
  """All cross-replica operations of a step.

  Args:
    function: from `launch.plan.tracing.trace`.
    gradients: int, number of gradient tensors; a norm over fewer is no clip.

  Returns:
    list of `Collective`, in the graph's order.

  Raises:
    ValueError: If one is inside a loop or a branch, where a TPU's cores may
      not all come to it.
  """
  graph_def = function.graph.as_graph_def()
  nodes = {node.name: node for node in graph_def.node}
  library = {f.signature.name: f.node_def for f in graph_def.library.function}
  inputs = {name: _sources(node, nodes) for name, node in nodes.items()}
  outputs = collections.defaultdict(list)
  for name, sources in inputs.items():
    for source in sources:
      outputs[source].append(name)
  norms = set(_global_norms(graph_def.node, gradients))
  for name, node in nodes.items():
    for body in _bodies(node, library):
      if inside := [n.op for n in body if n.op in COLLECTIVES]:
        raise ValueError(
          "A cross-replica operation must not be inside a loop or a branch: "
          f"not all cores may come to it. Received: {inside} in {name}"
        )
      if any(_global_norms(body, gradients)):
        norms.add(name)
  names = {n for n, node in nodes.items() if node.op in COLLECTIVES}
  found = []
  for name in (node.name for node in graph_def.node if node.name in names):
    before, after = _reach(name, inputs), _reach(name, outputs)
    tensor = function.graph.get_operation_by_name(name).inputs[0]
    shape = tuple(tensor.shape.as_list())
    found.append(
      Collective(
        name,
        nodes[name].op,
        shape,
        math.prod(shape) * tensor.dtype.size,
        bool(norms & before),
        bool(norms & after),
        frozenset(names & before),
      )
    )
  return found


def split(
  found: Sequence[Collective], shapes: Iterable[Sequence[int]]
) -> tuple[list[Collective], list[Collective]]:
  """Tells the sums of the gradients from the rest.

  Args:
    found: list of `Collective`.
    shapes: list of the shapes of the trainable variables.

  Returns:
    Two lists: for each variable the last sum of its shape, and all others.
  """
  rest, gradients = list(found), []
  for shape in shapes:
    same = [
      c for c in rest if c.kind == "CrossReplicaSum" and c.shape == tuple(shape)
    ]
    if same:
      gradients.append(same[-1])
      rest.remove(same[-1])
  return gradients, rest


def _producer(tensor):
  return tensor.lstrip("^").split(":")[0]


def _sources(node, nodes):
  """Names of the nodes whose values reach this one."""
  sources = [_producer(i) for i in node.input if not i.startswith("^")]
  if node.op == "ReadVariableOp":
    # What was assigned to the variable earlier in the step.
    for control in (i[1:] for i in node.input if i.startswith("^")):
      writer = nodes.get(control)
      if (
        writer is not None
        and writer.op.startswith("Assign")
        and writer.input[0] == node.input[0]
      ):
        sources.append(control)
  return sources


def _reach(start, edges):
  """All nodes from `start` on, itself left out."""
  seen, waiting = set(), list(edges[start])
  while waiting:
    name = waiting.pop()
    if name not in seen:
      seen.add(name)
      waiting.extend(edges.get(name, ()))
  return seen


def _bodies(node, library, seen=()):
  """Node lists of all functions an op calls, however deep."""
  functions = []
  for attr in node.attr.values():
    functions += [attr.func.name] if attr.HasField("func") else []
    functions += [f.name for f in attr.list.func]
  for name in functions:
    if name in library and name not in seen:
      yield library[name]
      for inner in library[name]:
        yield from _bodies(inner, library, (*seen, name))


def _global_norms(body, tensors):
  """Names of the roots of sums over the squares of `tensors` tensors."""
  nodes = {node.name: node for node in body}

  def data(node):
    return [nodes.get(_producer(i)) for i in node.input if i[0] != "^"]

  def squares(node):
    """What `node` is the sum of the squares of, or None."""
    if node.op == "L2Loss":
      return node.input[0]
    if node.op != "Sum" or (square := data(node)[0]) is None:
      return None
    if square.op == "Square" or (
      square.op == "Mul" and square.input[0] == square.input[1]
    ):
      return square.input[0]
    return None

  for root in body:
    if root.op not in _ROOTS:
      continue
    squared, seen, waiting = set(), set(), data(root)
    while waiting:
      node = waiting.pop()
      if node is None or node.name in seen:
        continue
      seen.add(node.name)
      if (operand := squares(node)) is not None:
        squared.add(operand)
      elif node.op in _THROUGH:
        waiting += data(node)
    if len(squared) >= tensors:
      yield root.name

"""Which layer an operation belongs to, by its name in the graph."""

import itertools
import re

# Scopes that TensorFlow adds.
_NO_LAYERS = ("body", "cond", "gradient_tape", "gradients", "while")


def of(name: str, caller: str | None = None) -> str:
  """Where an op is: its layers' names without numbers, three deep.

  Args:
    name: of the op.
    caller: what calls the function that the op is in, or None.

  Returns:
    The layers' names.

  Example:
    >>> of("gradient_tape/ctc_1/encoder/block_2/dense_4/Tensordot/MatMul")
    'encoder/block/dense'
  """
  parts = [without_numbers(part) for part in name.split("/")[:-1]]
  parts = [p for p in parts if p not in _NO_LAYERS]
  # Layers are named in lower case, the ops in them are not.
  layers = list(itertools.takewhile(str.islower, parts))
  inner = "/".join(layers[1:4])
  return inner or caller or (layers or ["outside the layers"])[0]


def without_numbers(name: str) -> str:
  """A layer's or an op's name without what tells it from others of its kind.

  Args:
    name: one part of a path.

  Returns:
    For example "dense" of "dense_4_1".
  """
  return re.sub(r"(_\d+)+$", "", name)

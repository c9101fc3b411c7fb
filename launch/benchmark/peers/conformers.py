"""A training step of a Conformer: features, CTC, gradients, Adam."""

from typing import Any

from launch.benchmark.peers import packages, recogniser, turns

# A float32 network of sixteen blocks.
TOLERANCE = 1e-4


def ours(size: str, utterances: int, seconds: float) -> turns.Side:
  """This package's step.

  Args:
    size: str, of `conformer.SIZES`.
    utterances: int.
    seconds: float, of each.

  Returns:
    The side; its outputs are of utterances of uneven lengths.
  """
  batch = recogniser.Batch.make(utterances, seconds)
  model = recogniser.make(size, batch)
  found = recogniser.outputs(model, batch.uneven())
  return turns.Side(recogniser.make_step(model, batch), outputs=found)


def twin(size: str, utterances: int, seconds: float) -> turns.Side:
  """The same mathematics with the same weights in PyTorch.

  Args:
    size: as of `ours`, and so are the others.
    utterances: int.
    seconds: float.

  Returns:
    The side.
  """
  steps = _torch_steps()
  batch = recogniser.Batch.make(utterances, seconds)
  module = steps.twin(recogniser.make(size, batch))
  found = steps.outputs(module, batch.uneven())
  return turns.Side(steps.make_step(module, batch), outputs=found)


def torchaudios(size: str, utterances: int, seconds: float) -> turns.Side:
  """torchaudio's Conformer of the same sizes.

  Args:
    size: as of `ours`, and so are the others.
    utterances: int.
    seconds: float.

  Returns:
    The side, without outputs.
  """
  steps = _torch_steps()
  batch = recogniser.Batch.make(utterances, seconds)
  return turns.Side(
    steps.make_step(steps.Torchaudios(size), batch),
    note="other mathematics: absolute attention, BatchNorm",
  )


def tensorflow_asrs(**_: Any) -> turns.Side:
  """TensorFlowASR's Conformer, which does not run beside Keras 3.

  Args:
    **_: sizes, of no use here.

  Returns:
    Nothing.

  Raises:
    Missing: If it is not there, which is always so.
  """
  raise packages.Missing(
    "TensorFlowASR's releases on PyPI, up to 2.1.0, need TensorFlow 2.15 or "
    "earlier: its import asks for a module that Keras 3 has not"
  )


def _torch_steps():
  return packages.side("torch_steps", "torch", "torchaudio")

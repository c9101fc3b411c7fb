"""What clipping every example costs, over the plain step of the same side."""

import tf_pcc
from launch.benchmark.peers import packages, recogniser, turns

_BOUND = 1.0


def ours(size: str, utterances: int, seconds: float) -> turns.Side:
  """This package's: as many micro-batches as examples.

  Args:
    size: str, of `conformer.SIZES`.
    utterances: int.
    seconds: float, of each.

  Returns:
    The side.
  """
  batch = recogniser.Batch.make(utterances, seconds)
  clipping = tf_pcc.Clipping(bound=_BOUND, microbatches=utterances)
  clipped, plain = (recogniser.make(size, batch) for _ in range(2))
  return turns.Side(
    recogniser.make_step(clipped, batch, clipping),
    recogniser.make_step(plain, batch),
  )


def flat(size: str, utterances: int, seconds: float) -> turns.Side:
  """Opacus, the gradients of all examples at once.

  Args:
    size: as of `ours`, and so are the others.
    utterances: int.
    seconds: float.

  Returns:
    The side.
  """
  return _opacus("flat", size, utterances, seconds)


def ghost(size: str, utterances: int, seconds: float) -> turns.Side:
  """Opacus, norms first, then a second pass.

  Args:
    size: as of `ours`, and so are the others.
    utterances: int.
    seconds: float.

  Returns:
    The side.
  """
  return _opacus("ghost", size, utterances, seconds)


def _opacus(kind, size, utterances, seconds):
  steps = packages.side("torch_steps", "torch", "torchaudio")
  opacus_step = packages.side("opacus_step", "opacus")
  batch = recogniser.Batch.make(utterances, seconds)
  model = recogniser.make(size, batch)
  clipped, plain = steps.twin(model, of_each=True), steps.twin(model)
  return turns.Side(
    opacus_step.make_step(clipped, batch, kind, _BOUND),
    steps.make_step(plain, batch),
  )

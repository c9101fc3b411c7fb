"""A training step of the PyTorch twin whose examples Opacus clips."""

from collections.abc import Callable

from opacus import optimizers
from opacus.grad_sample import (
  GradSampleModule,
  GradSampleModuleFastGradientClipping,
)
from opacus.utils import fast_gradient_clipping_utils
from torch import nn

from launch.benchmark.peers import recogniser, torch_steps


class _Criterion(nn.Module):
  """Losses of outputs, the labels being the batch's own."""

  def __init__(self, batch):
    super().__init__()
    self.losses = torch_steps.Losses(batch)
    self.reduction = "none"

  def forward(self, logits, lengths):
    losses = self.losses(logits, lengths)
    return losses.mean() if self.reduction == "mean" else losses


def make_step(
  module: nn.Module, batch: recogniser.Batch, kind: str, bound: float
) -> Callable[[], float]:
  """A function that takes one step, without noise.

  Args:
    module: the twin, with keys of positions of each utterance.
    batch: what it trains on.
    kind: "flat" or "ghost".
    bound: float, of an example's norm.

  Returns:
    function without arguments; the loss, float.
  """
  module.train()
  settings = {
    "noise_multiplier": 0.0,
    "max_grad_norm": bound,
    "expected_batch_size": len(batch.lengths),
  }
  given, criterion = torch_steps.inputs(batch), _Criterion(batch)
  adam = torch_steps.adam(module)
  if kind == "flat":
    sampled = GradSampleModule(module)
    optimizer = optimizers.DPOptimizer(adam, **settings)

    def step():
      optimizer.zero_grad()
      loss = criterion(*sampled(*given)).mean()
      loss.backward()
      optimizer.step()
      return loss.item()

    return step
  sampled = GradSampleModuleFastGradientClipping(
    module, max_grad_norm=bound, use_ghost_clipping=True
  )
  optimizer = optimizers.DPOptimizerFastGradientClipping(adam, **settings)
  criterion.reduction = "mean"
  losses = fast_gradient_clipping_utils.DPLossFastGradientClipping(
    sampled, optimizer, criterion
  )

  def ghost_step():
    optimizer.zero_grad()
    logits, lengths = sampled(*given)
    loss = losses(logits, lengths)
    loss.backward()
    optimizer.step()
    return loss.item()

  return ghost_step

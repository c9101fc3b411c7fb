"""PyTorch's side of a training step: the twin, or torchaudio's Conformer."""

from collections.abc import Callable

import numpy as np
import torch
import torchaudio
from torch import nn
from torch.nn import functional

from launch.benchmark.peers import recogniser, torch_conformer
from models import conformer


def twin(
  model: recogniser.Recogniser, of_each: bool = False
) -> torch_conformer.Recogniser:
  """The twin of a model, with its weights.

  Args:
    model: this package's.
    of_each: as of `torch_conformer.Attention`.

  Returns:
    The twin.
  """
  made = torch_conformer.Recogniser(
    model.encoder.config, recogniser.BANDS, recogniser.VOCABULARY, of_each
  )
  torch_conformer.copy_weights(model.encoder, model.head, made)
  return made


class Torchaudios(nn.Module):
  """torchaudio's Conformer between the twin's subsampling and output layer.

  Other mathematics: no relative positions, BatchNorm, an odd kernel.

  Args:
    size: str, of `conformer.SIZES`.
  """

  def __init__(self, size: str):
    super().__init__()
    config = conformer.SIZES[size]
    self.subsampling = torch_conformer.Subsampling(config, recogniser.BANDS)
    self.encoder = torchaudio.models.Conformer(
      config.dim,
      config.heads,
      config.dim * config.feed_forward_factor,
      config.blocks,
      (config.kernel - 1) // 2 * 2 + 1,
      config.dropout,
    )
    self.head = nn.Linear(config.dim, recogniser.VOCABULARY)

  def forward(
    self, features: torch.Tensor, lengths: torch.Tensor
  ) -> tuple[torch.Tensor, torch.Tensor]:
    """Recognises.

    Args:
      features: float [B, T, bands].
      lengths: int [B], valid frames.

    Returns:
      Logits, float [B, T', vocab], and int [B], their valid frames.
    """
    x, lengths = self.subsampling(features, lengths)
    x, lengths = self.encoder(x, lengths)
    return self.head(x), lengths


class Losses(nn.Module):
  """CTC losses of an utterance, of a batch that stays.

  Args:
    batch: what is trained on.
  """

  def __init__(self, batch: recogniser.Batch):
    super().__init__()
    self.labels = torch.from_numpy(batch.labels).long()
    self.label_lengths = torch.from_numpy(batch.label_lengths).long()

  def forward(
    self, logits: torch.Tensor, lengths: torch.Tensor
  ) -> torch.Tensor:
    """Losses in nats.

    Args:
      logits: float [B, T, vocab].
      lengths: int [B], valid frames.

    Returns:
      float [B].
    """
    return functional.ctc_loss(
      functional.log_softmax(logits, dim=-1).transpose(0, 1),
      self.labels,
      lengths,
      self.label_lengths,
      reduction="none",
    )


def outputs(module: nn.Module, batch: recogniser.Batch) -> list[np.ndarray]:
  """As `recogniser.outputs`.

  Args:
    module: a twin.
    batch: its input.

  Returns:
    The same two arrays.
  """
  module.eval()
  with torch.no_grad():
    logits, lengths = module(*inputs(batch))
    losses = Losses(batch)(logits, lengths)
    valid = torch_conformer.valid(lengths, logits.shape[1])
  module.train()
  return [logits[valid].numpy(), losses.numpy()]


def inputs(batch: recogniser.Batch) -> tuple[torch.Tensor, torch.Tensor]:
  """Features and lengths.

  Args:
    batch: what is trained on.

  Returns:
    Two tensors.
  """
  return torch.from_numpy(batch.features), torch.from_numpy(
    batch.lengths
  ).long()


def adam(module: nn.Module) -> torch.optim.Optimizer:
  """Adam of one operation, as on the other side.

  Args:
    module: whose weights it changes.

  Returns:
    The optimizer.
  """
  return torch.optim.Adam(
    module.parameters(), lr=recogniser.LEARNING_RATE, fused=True
  )


def make_step(
  module: nn.Module, batch: recogniser.Batch
) -> Callable[[], float]:
  """As `recogniser.make_step`, without clipping.

  Args:
    module: to train.
    batch: what it trains on.

  Returns:
    function without arguments; the loss, float.
  """
  module.train()
  optimizer, losses, given = adam(module), Losses(batch), inputs(batch)

  def step():
    optimizer.zero_grad(set_to_none=True)
    loss = losses(*module(*given)).mean()
    loss.backward()
    optimizer.step()
    return loss.item()

  return step

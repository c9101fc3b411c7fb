"""The Conformer of models/conformer.py, written in PyTorch as it is there.

The same mathematics, layer by layer, with the same weights: relative attention,
the convolution module with LayerNorm, subsampling by centred convolutions,
dropout in the same places. Scores by position are shifted as in Transformer-XL.
Long, because it is one network, to be read beside the files of models/layers.
"""

import math

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models import conformer
from models.layers import conformer_block

# Keras' default, ten thousand times PyTorch's.
_EPSILON = 1e-3


class Bias(nn.Module):
  """Adds a vector a head; a module of its own, as Opacus needs them.

  Args:
    heads: int.
    width: int, of a head.
  """

  def __init__(self, heads: int, width: int):
    super().__init__()
    self.bias = nn.Parameter(torch.zeros(heads, 1, width))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Adds it.

    Args:
      x: float [B, heads, T, width].

    Returns:
      The same shape.
    """
    return x + self.bias


class Attention(nn.Module):
  """Self-attention with relative positions.

  Args:
    dim: int.
    heads: int.
    of_each: bool, whether every utterance computes its own keys of positions,
      as per-example gradients need it, and not one for all.
  """

  def __init__(self, dim: int, heads: int, of_each: bool):
    super().__init__()
    self.heads, self.width, self.of_each = heads, dim // heads, of_each
    self.query_key_value = nn.Linear(dim, 3 * dim)
    self.position = nn.Linear(dim, dim, bias=False)
    self.output_projection = nn.Linear(dim, dim)
    self.content_bias = Bias(heads, self.width)
    self.position_bias = Bias(heads, self.width)

  def forward(
    self, x: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor
  ) -> torch.Tensor:
    """Attends.

    Args:
      x: float [B, T, dim].
      positions: float [2T - 1, dim].
      mask: bool [B, T], the valid frames.

    Returns:
      float [B, T, dim].
    """
    batch, time, dim = x.shape
    parts = self.query_key_value(x).view(batch, time, 3, self.heads, -1)
    query, key, value = parts.permute(2, 0, 3, 1, 4)
    by_position = self.position_bias(query)
    if self.of_each:
      positions = positions.expand(batch, -1, -1)
      position = self.position(positions).view(
        batch, -1, self.heads, self.width
      )
      far = torch.einsum("bhtw,buhw->bhtu", by_position, position)
    else:
      position = self.position(positions).view(-1, self.heads, self.width)
      far = torch.einsum("bhtw,uhw->bhtu", by_position, position)
    far = functional.pad(far, (1, 0)).view(batch, self.heads, 2 * time, time)
    far = far[:, :, 1:].view(batch, self.heads, time, 2 * time - 1)
    scores = self.content_bias(query) @ key.transpose(-1, -2) + far[..., :time]
    scores = scores * self.width**-0.5
    scores = scores.masked_fill(~mask[:, None, None], -1e9)
    mixed = torch.softmax(scores, dim=-1) @ value
    return self.output_projection(mixed.transpose(1, 2).reshape(x.shape))


class FeedForward(nn.Module):
  """Norm, expansion, swish, projection.

  Args:
    config: the Conformer's.
  """

  def __init__(self, config: conformer_block.ConformerConfig):
    super().__init__()
    dim, hidden = config.dim, config.dim * config.feed_forward_factor
    self.norm = nn.LayerNorm(dim, eps=_EPSILON)
    self.expand, self.project = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
    self.dropout = nn.Dropout(config.dropout)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Applies the module.

    Args:
      x: float [B, T, dim].

    Returns:
      The same shape.
    """
    hidden = self.dropout(functional.silu(self.expand(self.norm(x))))
    return self.dropout(self.project(hidden))


class Convolution(nn.Module):
  """Pointwise, gated linear unit, depthwise, norm, swish, pointwise.

  Args:
    config: the Conformer's.
  """

  def __init__(self, config: conformer_block.ConformerConfig):
    super().__init__()
    dim, taps = config.dim, config.kernel
    before = (taps - 1) // 2
    self.margins = (before, taps - 1 - before)
    self.expand, self.project = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
    self.depthwise = nn.Conv1d(dim, dim, taps, groups=dim, bias=False)
    self.norm = nn.LayerNorm(dim, eps=_EPSILON)

  def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Applies the module.

    Args:
      x: float [B, T, dim].
      mask: bool [B, T], the valid frames.

    Returns:
      float [B, T, dim].
    """
    x = functional.glu(self.expand(x)) * mask[:, :, None]
    x = functional.pad(x.transpose(1, 2), self.margins)
    x = self.depthwise(x).transpose(1, 2)
    return self.project(functional.silu(self.norm(x)))


class Block(nn.Module):
  """Half feed-forward, attention, convolution, half feed-forward, norm.

  Args:
    config: the Conformer's.
    of_each: as of `Attention`.
  """

  def __init__(self, config: conformer_block.ConformerConfig, of_each: bool):
    super().__init__()
    self.first, self.second = FeedForward(config), FeedForward(config)
    self.attention_norm = nn.LayerNorm(config.dim, eps=_EPSILON)
    self.attention = Attention(config.dim, config.heads, of_each)
    self.convolution_norm = nn.LayerNorm(config.dim, eps=_EPSILON)
    self.convolution = Convolution(config)
    self.dropout = nn.Dropout(config.dropout)
    self.norm = nn.LayerNorm(config.dim, eps=_EPSILON)

  def forward(
    self, x: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor
  ) -> torch.Tensor:
    """Applies the block.

    Args:
      x: float [B, T, dim].
      positions: float [2T - 1, dim].
      mask: bool [B, T], the valid frames.

    Returns:
      float [B, T, dim].
    """
    x = x + 0.5 * self.first(x)
    branch = self.attention(self.attention_norm(x), positions, mask)
    x = x + self.dropout(branch)
    x = x + self.dropout(self.convolution(self.convolution_norm(x), mask))
    return self.norm(x + 0.5 * self.second(x))


class Subsampling(nn.Module):
  """Two convolutions of stride 2 shorten the sequence.

  Args:
    config: the Conformer's.
    bands: int, of a feature frame.
  """

  def __init__(self, config: conformer_block.ConformerConfig, bands: int):
    super().__init__()
    self.flat = config.subsampling == "conv1d"
    layer = nn.Conv1d if self.flat else nn.Conv2d
    before = bands if self.flat else 1
    self.first = layer(before, config.dim, 3, stride=2, padding=1)
    self.second = layer(config.dim, config.dim, 3, stride=2, padding=1)
    width = math.ceil(bands / 4) * config.dim
    self.project = nn.Identity() if self.flat else nn.Linear(width, config.dim)

  def forward(
    self, features: torch.Tensor, lengths: torch.Tensor
  ) -> tuple[torch.Tensor, torch.Tensor]:
    """Subsamples.

    Args:
      features: float [B, T, bands].
      lengths: int [B], valid frames.

    Returns:
      float [B, T', dim] and int [B].
    """
    x = features.transpose(1, 2) if self.flat else features[:, None]
    for layer in (self.first, self.second):
      mask = valid(lengths, x.shape[2])
      x = x * (mask[:, None] if self.flat else mask[:, None, :, None])
      x, lengths = torch.relu(layer(x)), (lengths + 1) // 2
    if self.flat:
      return x.transpose(1, 2), lengths
    return self.project(x.permute(0, 2, 3, 1).flatten(2)), lengths


class Recogniser(nn.Module):
  """Encoder and output layer: features to logits.

  Args:
    config: the Conformer's; subsampled by 4, not causal, not in chunks.
    bands: int, of a feature frame.
    vocab: int, classes.
    of_each: as of `Attention`.
  """

  def __init__(
    self,
    config: conformer_block.ConformerConfig,
    bands: int,
    vocab: int,
    of_each: bool = False,
  ):
    super().__init__()
    self.subsampling = Subsampling(config, bands)
    self.dropout = nn.Dropout(config.dropout)
    self.blocks = nn.ModuleList(
      Block(config, of_each) for _ in range(config.blocks)
    )
    self.head = nn.Linear(config.dim, vocab)

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
    x = self.dropout(x)
    positions = sinusoids(x.shape[1], x.shape[2])
    mask = valid(lengths, x.shape[1])
    for block in self.blocks:
      x = block(x, positions, mask)
    return self.head(x), lengths


def valid(lengths: torch.Tensor, time: int) -> torch.Tensor:
  """Which frames an utterance has.

  Args:
    lengths: int [B].
    time: int, T.

  Returns:
    bool [B, T].
  """
  return torch.arange(time) < lengths[:, None]


def sinusoids(time: int, dim: int) -> torch.Tensor:
  """Of the distances time - 1 down to -(time - 1).

  Args:
    time: int, T.
    dim: int.

  Returns:
    float [2T - 1, dim].
  """
  distance = torch.arange(time - 1, -time, -1, dtype=torch.float32)
  rate = torch.pow(10000.0, -torch.arange(0, dim, 2) / dim)
  angle = distance[:, None] * rate
  return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


def copy_weights(
  encoder: conformer.ConformerEncoder,
  head: keras.layers.Dense,
  twin: Recogniser,
) -> None:
  """Gives the twin the weights of a built encoder and its output layer.

  Args:
    encoder: of models/conformer.py.
    head: `keras.layers.Dense`.
    twin: of the same config.
  """
  for mine, other in zip(
    encoder.subsampling.convolutions,
    (twin.subsampling.first, twin.subsampling.second),
    strict=True,
  ):
    _copy(mine, other)
  if not twin.subsampling.flat:
    _copy(encoder.subsampling.project, twin.subsampling.project)
  for mine, other in zip(encoder.blocks, twin.blocks, strict=True):
    _block(mine, other)
  _copy(head, twin.head)


def _block(mine, other):
  for name in ("first", "second"):
    for layer in ("norm", "expand", "project"):
      _copy(
        getattr(getattr(mine, name), layer),
        getattr(getattr(other, name), layer),
      )
  for name in ("attention_norm", "convolution_norm", "norm"):
    _copy(getattr(mine, name), getattr(other, name))
  for name in ("query_key_value", "position", "output_projection"):
    _copy(getattr(mine.attention, name), getattr(other.attention, name))
  for name in ("content_bias", "position_bias"):
    bias = np.asarray(getattr(mine.attention, name))[:, None]
    _set(getattr(other.attention, name).bias, bias)
  for name in ("expand", "norm", "project"):
    _copy(getattr(mine.convolution, name), getattr(other.convolution, name))
  taps = np.asarray(mine.convolution.depthwise)
  _set(other.convolution.depthwise.weight, taps.T[:, None])


def _copy(mine, other):
  """A layer's weights: PyTorch has the output's axis first."""
  if isinstance(other, nn.LayerNorm):
    weight, bias = mine.gamma, mine.beta
    _set(other.weight, np.asarray(weight))
  else:
    kernel, bias = np.asarray(mine.kernel), getattr(mine, "bias", None)
    _set(other.weight, np.moveaxis(kernel, (-1, -2), (0, 1)))
  if other.bias is not None:
    _set(other.bias, np.asarray(bias))


def _set(parameter, value):
  if tuple(parameter.shape) != value.shape:
    raise ValueError(
      f"weights must have equal shapes. Received: {value.shape} for "
      f"{tuple(parameter.shape)}"
    )
  with torch.no_grad():
    parameter.copy_(torch.from_numpy(np.array(value)))

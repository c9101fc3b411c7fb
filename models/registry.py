"""Models by name: the one place that turns a config into a network."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from models import (
  best_rq,
  conformer,
  ctc,
  hybrid,
  lstm,
  pruning,
  recogniser,
  speech_model,
  streaming,
  transducer,
)
from models.layers import features, specaugment

# Gentle for tiny, which sees words of a few frames; the paper's for the others.
_TINY_SPECAUGMENT = {
  "frequency_masks": 1,
  "frequency_width": 15,
  "time_masks": 2,
  "time_ratio": 0.05,
}


@dataclasses.dataclass(frozen=True)
class Family:
  """How a config becomes a model.

  A family's config has the fields size (a key of `sizes`, default "tiny"), the
  dicts of overrides encoder (fields of the encoder's config), features
  (`features.LogMel`) and specaugment (`specaugment.SpecAugment`), those of
  `parts`, and the other arguments of the model, such as seed.

  Attributes:
    model: a `speech_model.SpeechModel` class.
    sizes: dict from a size to an encoder's config, a dataclass.
    features: dict of `features.LogMel`'s arguments where they are not its
      defaults.
    parts: dict from the name of another dict of overrides to its known fields.
    arguments: dict from a size to other arguments of the model, where they are
      not its defaults.
  """

  model: type
  sizes: dict
  features: dict = dataclasses.field(default_factory=dict)
  parts: dict = dataclasses.field(default_factory=dict)
  arguments: dict = dataclasses.field(default_factory=dict)

  def build(
    self, name: str, config: Mapping[str, Any], vocab_size: int
  ) -> speech_model.SpeechModel:
    """Makes the unbuilt model.

    Args:
      name: str, the family's, for messages.
      config: dict of the family's fields.
      vocab_size: int.

    Returns:
      A `speech_model.SpeechModel`.

    Raises:
      ValueError: If a field is unknown or a value out of range.
    """
    encoder = type(next(iter(self.sizes.values())))
    parts = {
      "encoder": [field.name for field in dataclasses.fields(encoder)],
      "features": _arguments(features.LogMel),
      **self.parts,
    }
    transcribes = issubclass(self.model, recogniser.Recogniser)
    if transcribes:
      parts["specaugment"] = _arguments(specaugment.SpecAugment)
    others = _arguments(self.model) - {"vocab_size", *parts}
    _check(f"{name}'s config", config, ["size", *others, *parts])
    size = config.get("size", "tiny")
    if size not in self.sizes:
      raise ValueError(
        f"{name}'s size must be one of {sorted(self.sizes)}. "
        f"Received: size={size!r}"
      )
    overrides = {part: dict(config.get(part) or {}) for part in parts}
    for part, fields in parts.items():
      _check(f"{name}'s {part}", overrides[part], fields)
    arguments = {
      **overrides,
      "encoder": dataclasses.replace(self.sizes[size], **overrides["encoder"]),
      "features": {**self.features, **overrides["features"]},
      **self.arguments.get(size, {}),
      **{field: config[field] for field in others if field in config},
    }
    if transcribes:
      arguments["vocab_size"] = vocab_size
      arguments["specaugment"] = {
        **(_TINY_SPECAUGMENT if size == "tiny" else {}),
        **overrides["specaugment"],
      }
    return self.model(**arguments)


_PRUNING = {
  "pruning": [field.name for field in dataclasses.fields(pruning.PruningConfig)]
}

MODELS = {
  "conformer_ctc": Family(ctc.ConformerCTC, conformer.SIZES),
  "lstm_ctc": Family(ctc.LSTMCTC, lstm.SIZES),
  "streaming_conformer_ctc": Family(
    streaming.StreamingConformerCTC, streaming.SIZES, streaming.FEATURES
  ),
  "conformer_transducer": Family(
    transducer.ConformerTransducer,
    conformer.SIZES,
    parts=_PRUNING,
    arguments=transducer.SIZES,
  ),
  "hybrid": Family(
    hybrid.ConformerHybrid,
    conformer.SIZES,
    parts=_PRUNING,
    arguments=transducer.SIZES,
  ),
  "best_rq": Family(best_rq.BestRQ, conformer.SIZES),
}


def _arguments(layer) -> set[str]:
  """Names of the constructor's arguments, its bases' too if it passes them."""
  parameters = inspect.signature(layer.__init__).parameters
  names = set(parameters) - {"self", "kwargs", "arguments"}
  if "arguments" in parameters:
    names |= _arguments(layer.__base__)
  return names


def _check(what: str, given, known) -> None:
  unknown = sorted(set(given) - set(known))
  if unknown:
    raise ValueError(
      f"{what} knows the fields {sorted(known)}. Received: {unknown}"
    )


def is_recogniser(name: str) -> bool:
  """Whether models of this name transcribe; a key of `MODELS`.

  Args:
    name: a key of `MODELS`.

  Returns:
    False for models of pre-training.
  """
  return issubclass(MODELS[name].model, recogniser.Recogniser)


def build_model(
  name: str, config: Mapping[str, Any] | None, vocab_size: int
) -> speech_model.SpeechModel:
  """Makes a model with all its weights.

  Call it inside `strategy.scope()`, after the dtype policy and the global seed
  are set.

  Args:
    name: a key of `MODELS`.
    config: dict (or ConfigDict) of that model's fields, missing ones at their
      defaults.
    vocab_size: int, number of classes, the blank 0 included; models that do
      not transcribe have no use for it.

  Returns:
    A built `tf_pcc.PerCoreModel`.

  Raises:
    ValueError: If the name or a field is unknown; the known ones are listed.

  Example:
    >>> model = build_model("conformer_ctc", {"size": "tiny"}, vocab_size=256)
  """
  if name not in MODELS:
    raise ValueError(
      f"The models are {sorted(MODELS)}. Received: name={name!r}"
    )
  model = MODELS[name].build(name, dict(config or {}), vocab_size)
  model.build_from_signature()
  return model

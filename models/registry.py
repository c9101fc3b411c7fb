"""Models by name: the one place that turns a config into a network."""

import dataclasses
import inspect

from models import conformer, ctc, features, specaugment

# Gentle for tiny, which sees words of a few frames; the paper's for the others.
_SPECAUGMENT = {
  "tiny": {
    "frequency_masks": 1,
    "frequency_width": 15,
    "time_masks": 2,
    "time_ratio": 0.05,
  },
  "S": {},
  "M": {},
  "L": {},
}


def _arguments(layer) -> list[str]:
  parameters = inspect.signature(layer.__init__).parameters
  return sorted(set(parameters) - {"self", "kwargs"})


def _check(what: str, given, known) -> None:
  unknown = sorted(set(given) - set(known))
  if unknown:
    raise ValueError(
      f"{what} knows the fields {sorted(known)}. Received: {unknown}"
    )


def _conformer_ctc(config: dict, vocab_size: int):
  """Builds `ctc.ConformerCTC`.

  Config fields: size ("tiny", "S", "M", "L"; default "tiny"), seed (int),
  blank_prior (float; default that of `ctc.ConformerCTC`), and the dicts of
  overrides encoder (`conformer.ConformerConfig`), features (`features.LogMel`)
  and specaugment (`specaugment.SpecAugment`).
  """
  known = {
    "encoder": [f.name for f in dataclasses.fields(conformer.ConformerConfig)],
    "features": _arguments(features.LogMel),
    "specaugment": _arguments(specaugment.SpecAugment),
  }
  _check(
    "conformer_ctc's config", config, ["size", "seed", "blank_prior", *known]
  )
  size = config.get("size", "tiny")
  if size not in conformer.SIZES:
    raise ValueError(
      f"conformer_ctc's size must be one of {sorted(conformer.SIZES)}. "
      f"Received: size={size!r}"
    )
  overrides = {part: dict(config.get(part) or {}) for part in known}
  for part, fields in known.items():
    _check(f"conformer_ctc's {part}", overrides[part], fields)
  return ctc.ConformerCTC(
    vocab_size=vocab_size,
    encoder=dataclasses.replace(conformer.SIZES[size], **overrides["encoder"]),
    features=overrides["features"],
    specaugment={**_SPECAUGMENT[size], **overrides["specaugment"]},
    **{
      name: config[name] for name in ("seed", "blank_prior") if name in config
    },
  )


MODELS = {"conformer_ctc": _conformer_ctc}


def build_model(name: str, config: dict | None, vocab_size: int):
  """Makes a model with all its weights.

  Call it inside `strategy.scope()`, after the dtype policy and the global seed
  are set.

  Args:
    name: a key of `MODELS`.
    config: dict (or ConfigDict) of that model's fields, missing ones at their
      defaults.
    vocab_size: int, number of classes, the blank 0 included.

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
  model = MODELS[name](dict(config or {}), vocab_size)
  model.build_from_signature()
  return model

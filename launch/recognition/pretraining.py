"""Pre-trained encoders: how good they are, and how a run starts from one.

A run of the family best_rq has no transcripts. Its encoder goes on in another
run, whose config names it: --config.init_from=DIR.
"""

import itertools
import os
from typing import Any

import numpy as np
from absl import logging

from launch.recognition.driver import Driver
from launch.runs import opening
from models.speech_model import SpeechModel
from tf_pcc.data.mixing import AnyRecords

# Fields of the features that change no number outside training.
_FREE_FEATURES = ("name", "seed", "dither")


def read(directory: str | os.PathLike) -> SpeechModel:
  """The model of a run, to start another from.

  Args:
    directory: a run's directory; of best_rq, or of any family whose encoder and
      features are those of the new one.

  Returns:
    A `models.speech_model.SpeechModel`, with the weights of the newest
    checkpoint.

  Raises:
    ValueError: If there is no run or no checkpoint.
  """
  try:
    model, _, _, step = opening.load_model(directory, recogniser=False)
  except ValueError as error:
    raise ValueError(
      f"init_from must be the directory of a run: {error}. "
      f"Received: init_from={directory}"
    ) from error
  logging.info("encoder and features start from step %d of %s", step, directory)
  return model


def copy_encoder(source: SpeechModel, model: SpeechModel) -> None:
  """Gives a model the features' and the encoder's weights of another.

  Args:
    source: `models.speech_model.SpeechModel`.
    model: another one, of the same features and an encoder of the same shapes;
      what comes after the encoder stays as it is.

  Raises:
    ValueError: If a field or a weight differs; the first is named.
  """
  given, wanted = source.log_mel.get_config(), model.log_mel.get_config()
  for field in wanted:
    if field not in _FREE_FEATURES and given[field] != wanted[field]:
      raise ValueError(
        "init_from must be a run with the features of this one. Received: "
        f"features.{field}={given[field]!r} there, {wanted[field]!r} here"
      )
  for theirs, ours in itertools.zip_longest(_weights(source), _weights(model)):
    if _shape(theirs) != _shape(ours):
      raise ValueError(
        "init_from must be a run with the encoder of this one. Received: "
        f"{_shape(theirs)} there, {_shape(ours)} here"
      )
  for theirs, ours in zip(_weights(source), _weights(model)):
    ours.assign(theirs)


def score(driver: Driver, records: AnyRecords) -> dict[str, Any]:
  """How well a best_rq model tells the codes of masked frames.

  Args:
    driver: `launch.recognition.driver.Driver` of a `models.best_rq.BestRQ`.
    records: `Records` or `MemoryRecords`.

  Returns:
    dict with masked_accuracy, masked_loss (nats), both means over all masked
    frames, masked_frames, and codes_in_use, the share of the codebook among
    their codes.
  """

  codes, correct, losses = [], [], []
  for _, (masked, *values) in driver.run(driver.model.predictions, records):
    for found, value in zip((codes, correct, losses), values):
      found.append(value[masked])
  codes, correct, losses = map(np.concatenate, (codes, correct, losses))
  size = driver.model.config["codebook_size"]
  frames = len(codes)
  return {
    "masked_accuracy": float(correct.mean()) if frames else None,
    "masked_loss": float(losses.mean()) if frames else None,
    "masked_frames": frames,
    "codes_in_use": len(np.unique(codes)) / size,
  }


def _weights(model):
  return [*model.log_mel.weights, *model.encoder.weights]


def _shape(variable):
  if variable is None:
    return None
  return f"{variable.name} {tuple(variable.shape)}"

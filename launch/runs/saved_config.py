"""A run's config.json: saved, loaded, compared with the config given now."""

import json
import os
from typing import Any

import tensorflow as tf
from absl import logging
from ml_collections import config_dict

from launch.configs import base
from launch.runs import experiment
from tf_pcc import files

_REMEDY = "restore a copy, or train in another --workdir"
# Changing these between two parts of a run changes no number but their own.
FREE_FIELDS = (
  "log_every",
  "checkpoint_every",
  "validate_every",
  "keep_checkpoints",
  "evaluation_batch",
  "steps",
  "data.cache",
  "clipping.skipped_limit",
  "data.damaged_limit",
)
# Where something is: it may be moved, and the run goes on.
_PLACES = (
  "data.train",
  "data.validation",
  "data.test",
  "data.manifest",
  "init_from",
)


def check_config(
  directory: str | os.PathLike, config: config_dict.ConfigDict
) -> None:
  """Refuses a directory that holds a run of another config.

  Args:
    directory: the run's directory; it may be missing.
    config: the experiment's `ConfigDict`.

  Raises:
    ValueError: If fields differ; they are listed.
  """
  path = files.join(directory, "config.json")
  if not tf.io.gfile.exists(path):
    return
  saved = load_config(directory)
  differing = _differing(saved, config)
  if differing:
    raise ValueError(
      f"--workdir must be empty or hold a run of this config: {directory} "
      f"was made by another. Received: {'; '.join(differing)}"
    )
  if saved.steps != config.steps:
    logging.warning(
      "steps changed from %d to %d: the learning rate's schedule is that of "
      "%d steps from here on",
      saved.steps,
      config.steps,
      config.steps,
    )


def check_checkpoint(
  checkpoint: str,
  saved: dict[str, Any],
  config: config_dict.ConfigDict,
  group: str = "",
) -> None:
  """Refuses a checkpoint that was trained with another config.

  Where the data are is not compared: config.json may be changed by hand when
  they were moved.

  Args:
    checkpoint: its path, for the message.
    saved: the config in it, as `as_json` gave it.
    config: the config at hand.
    group: of the fields to compare, such as "model"; "": all.

  Raises:
    ValueError: If fields differ; they are listed.
  """
  differing = [
    line
    for line in _differing(_parse(saved, checkpoint), config, _PLACES)
    if line.startswith(f"{group}." if group else "")
  ]
  if differing:
    raise ValueError(
      f"{checkpoint}.* was saved by a run of another config: restore "
      "config.json and the checkpoints of one run, or take another --workdir. "
      f"Received: {'; '.join(differing)}"
    )


def as_json(config: config_dict.ConfigDict) -> dict[str, Any]:
  """A config as JSON holds it.

  Args:
    config: the experiment's `ConfigDict`.

  Returns:
    dict.
  """
  return json.loads(config.to_json_best_effort())


def _differing(saved, config, also_free=()):
  """A line for each field that differs and may not."""
  given = as_json(config)
  free = {*FREE_FIELDS, *also_free}
  if not given["tokenizer"]["digest"]:
    # Any will do, so that of the run.
    free.add("tokenizer.digest")
  if given["canaries"]["insert"]:
    # Their repetitions are spread over the steps.
    free.remove("steps")
  return [
    f"{name}: {was!r} there, {now!r} now"
    for name, was, now in _differences(as_json(saved), given)
    if name not in free
  ]


def save_config(
  directory: str | os.PathLike,
  config: config_dict.ConfigDict,
  tokenizer_digest: str = "",
) -> None:
  """Writes config.json to the run's directory, which is made if missing.

  Args:
    directory: the run's directory.
    config: the experiment's `ConfigDict`.
    tokenizer_digest: of the run's tokenizer, if it is known.
  """
  files.make_folder(directory)
  given = as_json(config)
  given["tokenizer"]["digest"] = tokenizer_digest or config.tokenizer.digest
  files.write_json(files.join(directory, "config.json"), given)


def load_config(directory: str | os.PathLike) -> config_dict.ConfigDict:
  """The config of a run.

  Args:
    directory: the run's directory.

  Returns:
    The experiment's `ConfigDict`.

  Raises:
    ValueError: If there is no run, or its file is damaged.
  """
  path = files.join(directory, "config.json")
  if not tf.io.gfile.exists(path):
    raise ValueError(
      "--workdir must be the directory of a training run; there is no "
      f"config.json. Received: workdir={directory}"
    )
  return _parse(files.read_json(path, _REMEDY, dict[str, Any]), path)


def _parse(saved, path):
  """The `ConfigDict` of a saved config of any version."""
  # Fields younger than the run have their defaults.
  config = base.get_config()
  try:
    saved = _complete(saved)
    with config.unlocked():
      config.update(saved)
    for group, field in (("model", "fields"), ("optimizer", "arguments")):
      config[group][field] = config_dict.ConfigDict(
        saved[group][field], convert_dict=False
      )
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f"{path} is not as it was written: {_REMEDY}. Received: {error}"
    ) from error
  return config


def _complete(saved):
  """A saved config of any version, with what its run had where it matters.

  Fields that younger versions added have their defaults, unless their absence
  meant something else.
  """
  clipping, optimizer = saved.get("clipping", {}), saved["optimizer"]
  # An adaptive bound did not divide the update; others do not by default.
  if clipping.get("method", "apcc") in ("apcc", "running"):
    saved["clipping"] = {"normalize": "false", **clipping}
  # beta_2 was one of the arguments.
  arguments = optimizer["arguments"]
  has_field = optimizer.get("name", "adam").lower() in experiment.WITH_BETA_2
  if has_field and "beta_2" not in optimizer and "beta_2" in arguments:
    optimizer["beta_2"] = arguments.pop("beta_2")
  return saved


def _differences(saved, given, prefix=""):
  for name in sorted({*saved, *given}):
    was, now = saved.get(name), given.get(name)
    if isinstance(was, dict) and isinstance(now, dict):
      yield from _differences(was, now, f"{prefix}{name}.")
    elif was != now:
      yield prefix + name, was, now

"""Canaries of a run: planned once, spoken once, inserted in training.

DIR/canaries.json    the plan: what is inserted how often, what is held out
DIR/canaries/        their sound as records, sped up

The plan is drawn and spoken at the first start. Resumed runs and later audits
read these files. launch.make_canaries and launch.prepare write the same two.
"""

import json
import os
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging
from ml_collections import config_dict

from launch.canaries.speaking import Canaries, check_sound, speak, spoken_fits
from launch.canaries.speaking import require_share as require_share
from launch.canaries.speaking import utterance as _utterance
from launch.runs import checkpoints, saved_config
from tf_pcc import audit, files
from tf_pcc.audit import texts as texts_
from tf_pcc.data import records, text
from tf_pcc.data.mixing import AnyRecords

# Beside the sound: the digest of the plan that was written with it.
_DIGEST = "plan.json"


def prepare(
  config: config_dict.ConfigDict,
  directory: str | os.PathLike,
  splits: Mapping[str, AnyRecords],
  tokenizer: text.Tokenizer,
  fits: Callable[[Sequence[int], int], bool],
  write: bool = True,
) -> Canaries | None:
  """The canaries that a config asks for: those of the directory, or new ones.

  New ones are a function of the config, the corpus and the tokenizer alone, so
  every worker of a run, and every run of a comparison, draws the same.

  Args:
    config: the experiment's `ConfigDict`.
    directory: the run's directory.
    splits: dict from split to records: no canary equals one of their texts, and
      the words of "train" are the canaries' vocabulary.
    tokenizer: `tf_pcc.data.text.Tokenizer`.
    fits: function (labels, samples) -> bool, whether the network can learn
      them; see `models.speech_model.SpeechModel.fits`.
    write: bool, whether this process writes them to the directory.

  Returns:
    `Canaries`, or None where `config.canaries.insert` is False.

  Raises:
    ValueError: If a repetition count exceeds the steps, canaries are more than
      canaries.max_share, the directory holds a run without canaries, or
      `tf_pcc.audit.make_plan` refuses the fields.
  """
  fields = config.canaries
  if not fields.insert:
    return None
  most = max(fields.repetitions, default=0)
  if most > config.steps:
    raise ValueError(
      "canaries.repetitions must not exceed steps: a canary is seen once a "
      "step at most; train longer or repeat less. Received: "
      f"canaries.repetitions={fields.repetitions}, steps={config.steps}"
    )
  if tf.io.gfile.exists(_plan_path(directory)):
    return load(directory)
  if checkpoints.checkpoint_paths(directory):
    raise ValueError(
      f"{directory} holds a run that began without canaries; start another in "
      "an empty --workdir. Received: canaries.insert=True"
    )
  require_share(config, len(splits["train"]), config.steps * config.batch)
  ordinary = [t for split in splits.values() for t in split.texts]
  result = draw(
    config, splits["train"].texts, ordinary, spoken_fits(tokenizer, fits)
  )
  if write:
    save(directory, result)
  return result


def draw(
  config: config_dict.ConfigDict,
  texts: Iterable[str],
  ordinary_texts: Iterable[str] = (),
  fits: Callable[[str, float], bool] | None = None,
) -> Canaries:
  """Plans and speaks the canaries of `config.canaries`.

  Args:
    config: the experiment's `ConfigDict`.
    texts: transcripts whose words are the vocabulary of kind "words", and of
      the secrets of kind "template" where ZERO to NINE are not all among them.
    ordinary_texts: transcripts that no canary equals, besides `texts`.
    fits: function (text, seconds) -> bool: canaries that do not fit are
      replaced, or dropped once spoken; None keeps all.

  Returns:
    `Canaries`, a function of the arguments alone.

  Raises:
    ValueError: If `tf_pcc.audit.make_plan` refuses the fields.
  """
  fields = config.canaries
  vocabulary = sorted({w for line in texts for w in line.split()})
  numbers = set(texts_.DIGITS) <= set(vocabulary)
  if fields.kind == "characters" or (fields.kind == "template" and numbers):
    vocabulary = None  # Letters, or digits.
  plan = audit.make_plan(
    voices=[
      {"engine": engine, "name": name, "pitch": float(pitch)}
      for engine, _, name in (voice.partition(":") for voice in fields.voices)
      for pitch in fields.pitches
    ],
    kind=fields.kind,
    vocabulary=vocabulary,
    length=fields.length,
    templates=fields.templates,
    speeds=fields.speeds,
    speed_by=fields.speed_by,
    repetitions=fields.repetitions,
    canaries_per_count=fields.per_count,
    holdout=fields.holdout,
    by_speaker=fields.by_speaker,
    ordinary_texts=[*texts, *ordinary_texts],
    fits=fits,
    seed=fields.seed,
  )
  spoken = speak(plan, config.data.cache)
  if fits:
    seconds = dict(zip(spoken.ids, spoken.samples / spoken.sample_rate))
    plan = audit.drop_unfit(plan, seconds, fits)
  if fields.coin_seed >= 0:
    plan = audit.flip_coins(plan, fields.coin_seed)
  logging.info(
    "%d canaries inserted %d times, %d held out; plan %s",
    len(plan.canaries),
    plan.repetitions.sum(),
    len(plan.holdout),
    plan.digest()[:12],
  )
  return Canaries(plan, spoken)


def save(directory: str | os.PathLike, canaries: Canaries) -> None:
  """Writes the plan, and the sound of what is in it, to a run's directory.

  Args:
    directory: the run's directory.
    canaries: `Canaries`.
  """
  sound = files.join(directory, "canaries")
  rows = canaries.rows(canaries.plan.all)
  pairs = [
    (_utterance(canary), canaries.records.read(row))
    for canary, row in zip(canaries.plan.all, rows)
  ]
  planned = tf.io.gfile.exists(_plan_path(directory))
  if not planned and tf.io.gfile.exists(sound) and not _holds(sound, pairs):
    # A process that was killed before it wrote the plan, another one.
    tf.io.gfile.rmtree(sound)
  if not tf.io.gfile.exists(sound):
    records.write_records(pairs, sound, progress=False)
  files.write_json(
    files.join(sound, _DIGEST), {"digest": canaries.plan.digest()}
  )
  # The plan last: where it is, the sound is, too.
  plan = json.loads(canaries.plan.to_json())
  files.write_json(_plan_path(directory), plan)


def _holds(path, pairs):
  """Whether records are those of pairs (`Utterance`, waveform)."""
  try:
    found = records.Records(path)
    return found.ids == [utterance.id for utterance, _ in pairs] and all(
      text_ == utterance.text and np.array_equal(found.read(row), waveform)
      for row, (text_, (utterance, waveform)) in enumerate(
        zip(found.texts, pairs)
      )
    )
  except (ValueError, OSError):
    return False


def load(directory: str | os.PathLike) -> Canaries:
  """The canaries of a run: its own, or those of the records it trained on.

  Args:
    directory: the run's directory.

  Returns:
    `Canaries`.

  Raises:
    ValueError: If it was trained without, or the plan was changed since.
  """
  path = _own_plan_path(directory)
  if path:
    found = load_plan(path, flag="workdir")
    _require_unchanged(path, found.plan)
    return found
  raise ValueError(
    "--workdir has no canaries.json, so nothing was inserted "
    "that could be audited: train with --config.canaries.insert=True, or "
    "give the plan that the recogniser was trained with as --plan=FILE. "
    f"Received: workdir={directory}"
  )


def _require_unchanged(path, plan):
  """Refuses a plan that is not the one whose canaries were inserted."""
  written = files.join(posixpath.dirname(path), "canaries", _DIGEST)
  # Older ones have none.
  if not tf.io.gfile.exists(written):
    return
  expected = files.read_json(written, "restore a copy", dict[str, str]).get(
    "digest"
  )
  if plan.digest() != expected:
    raise ValueError(
      f"{path} must be the plan that was trained with: it was changed since; "
      f"restore a copy. Received: plan {plan.digest()[:12]}, written was "
      f"{str(expected)[:12]}"
    )


def load_plan(
  path: str | os.PathLike,
  cache: str | os.PathLike = "~/.cache/tf_pcc",
  flag: str = "plan",
) -> Canaries:
  """The canaries of a plan's file.

  Args:
    path: a canaries.json; its sound is in the folder canaries beside it, or
      synthesised again where there is none.
    cache: where new sound is kept.
    flag: name of the flag that the path came by, for the message.

  Returns:
    `Canaries`.

  Raises:
    ValueError: If there is no plan, or it or its sound is not as it must be.
  """
  if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
    raise ValueError(
      f"--{flag} must be a canaries.json, of launch.make_canaries or of a "
      f"training run. Received: {flag}={path}"
    )
  try:
    plan = audit.CanaryPlan.from_json(files.read_text(path))
    _check_plan(plan)
  except ValueError as error:
    raise ValueError(f"--{flag}={path}: {error}") from error
  sound = files.join(posixpath.dirname(path), "canaries")
  if tf.io.gfile.exists(sound):
    found = records.Records(sound)
    check_sound(plan, found, sound)
    return Canaries(plan, found)
  logging.warning(
    "no sound beside %s: the canaries are synthesised again, which gives the "
    "same samples only with the same version of the voice engine%s",
    path,
    " and without dropped candidates" if plan.dropped else "",
  )
  return Canaries(plan, speak(plan, cache))


def require_own(directory: str | os.PathLike, plan: audit.CanaryPlan) -> None:
  """Refuses a plan that is not that of a run which has one.

  Args:
    directory: the run's directory.
    plan: `tf_pcc.audit.CanaryPlan` given besides.

  Raises:
    ValueError: If the run has another plan; both are named.
  """
  path = _own_plan_path(directory)
  own = load_plan(path, flag="workdir").plan if path else plan
  if own.digest() != plan.digest():
    raise ValueError(
      "--plan must be the plan that the run of --workdir was trained with, "
      f"{path}: leave out --plan, or, for a recogniser that is not of this "
      "run, give --output instead of --workdir. Received: plans "
      f"{plan.digest()[:12]} (--plan) and {own.digest()[:12]} (--workdir)"
    )


def _check_plan(plan):
  """What speaking, inserting and masking read, besides `from_json`'s checks."""
  missing = {"kind", "templates", "speed_by", "seed"} - set(plan.settings)
  if missing:
    raise ValueError(
      "settings must hold kind, templates, speed_by and seed, as "
      "tf_pcc.audit.make_plan writes them. "
      f"Received: settings without {sorted(missing)}"
    )
  for canary in plan.all:
    if not isinstance(canary.voice.get("name"), str):
      raise ValueError(
        "voice must have a name, such as en-US. "
        f"Received: voice={canary.voice} of {canary.id}"
      )


def _own_plan_path(directory):
  """The file of a run's plan, or of its records' plan, or None."""
  path = _plan_path(directory)
  if tf.io.gfile.exists(path):
    return path
  if tf.io.gfile.exists(files.join(directory, "config.json")):
    data = saved_config.load_config(directory).data
    prepared = _plan_path(data.train)
    own = data.kind == "records" and data.train
    if own and tf.io.gfile.exists(prepared):
      return prepared
  return None


def _plan_path(directory):
  return files.join(directory, "canaries.json")

"""Canaries and their sound: synthesised, sped up, kept in the cache."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from absl import logging
from ml_collections import config_dict

from tf_pcc import audit, locks
from tf_pcc.data import batching, records, resampling, text, tts
from tf_pcc.data.utterances import Utterance


@dataclasses.dataclass(frozen=True)
class Canaries:
  """A plan and its sound.

  Attributes:
    plan: `tf_pcc.audit.CanaryPlan`.
    records: `Records` that hold every canary and hold-out of the plan.
  """

  plan: audit.CanaryPlan
  records: records.Records

  @functools.cached_property
  def _rows(self):
    return {name: row for row, name in enumerate(self.records.ids)}

  def rows(self, group: Iterable[audit.Canary]) -> list[int]:
    """Where canaries are in the records.

    Args:
      group: `plan.canaries`, `plan.holdout` or `plan.all`.

    Returns:
      list of int.
    """
    return [self._rows[canary.id] for canary in group]

  def insertions(self) -> list[batching.Insertion]:
    """What `tf_pcc.data.batching.Batches` takes: an `Insertion` a canary."""
    return [
      batching.Insertion(self.records, row, canary.repetitions)
      for row, canary in zip(self.rows(self.plan.canaries), self.plan.canaries)
    ]

  def waveforms(self) -> list[np.ndarray]:
    """The sound of `plan.all`, a list of float32 [samples] in [-1, 1]."""
    return [
      self.records.read(row).astype("float32") / 2**15
      for row in self.rows(self.plan.all)
    ]


def speak(plan: audit.CanaryPlan, cache: str | os.PathLike) -> records.Records:
  """Speaks a plan's canaries and speeds them up; once, then from the cache.

  Args:
    plan: `tf_pcc.audit.CanaryPlan`, its voices as in
      `of_run.draw`.
    cache: directory; the records are in a folder named after the plan's hash.

  Returns:
    `Records` of `plan.all`, in that order; with coins, in the order before
    they were flipped, so that all of their seeds share the sound.

  Raises:
    ValueError: If a voice engine is missing or refuses a voice.
  """
  plan = audit.unflipped(plan)
  cache = os.path.expanduser(cache)
  path = os.path.join(cache, f"canaries-{plan.digest()[:16]}")
  os.makedirs(cache, exist_ok=True)
  # The workers of one machine share the cache: the first speaks.
  with locks.locked(
    f"{path}.lock",
    lambda: logging.info("another process writes %s: waiting", path),
  ):
    if not os.path.isdir(path):
      logging.info("speaking %d canaries: %s", len(plan.all), path)
      waveforms = _speak(plan)
      pairs = zip(map(utterance, plan.all), waveforms)
      records.write_records(pairs, path, progress=False)
  return records.Records(path)


def utterance(canary: audit.Canary) -> Utterance:
  """A canary as records hold it.

  Args:
    canary: `tf_pcc.audit.Canary`.

  Returns:
    `Utterance` without a path.
  """
  return Utterance(
    canary.id, "", text.normalize(canary.text), speaker=speaker_of(canary)
  )


def speaker_of(canary: audit.Canary) -> str:
  """Whose voice a canary has.

  Args:
    canary: `tf_pcc.audit.Canary`.

  Returns:
    Its speaker, or the name of its voice.
  """
  return canary.speaker or canary.voice["name"]


def _speak(plan):
  by_engine = plan.settings["speed_by"] == "engine"
  voices = [
    tts.Voice(**c.voice, rate=c.speed if by_engine else 1.0) for c in plan.all
  ]
  waveforms = tts.synthesize([c.text for c in plan.all], voices)
  if by_engine:
    return waveforms
  return [
    resampling.speed(waveform.astype("float32") / 2**15, canary.speed)
    for waveform, canary in zip(waveforms, plan.all)
  ]


def spoken_fits(
  tokenizer: text.Tokenizer, fits: Callable[[Sequence[int], int], bool]
) -> Callable[[str, float], bool]:
  """What `of_run.draw` takes, from what a model says.

  Args:
    tokenizer: `tf_pcc.data.text.Tokenizer`.
    fits: function (labels, samples) -> bool, as in `of_run.prepare`.

  Returns:
    function (text, seconds) -> bool.
  """

  def check(line, seconds):
    labels = tokenizer.encode(text.normalize(line))
    return bool(fits(labels, int(round(seconds * tts.SAMPLE_RATE))))

  return check


def check_sound(
  plan: audit.CanaryPlan, spoken: records.Records, path: str
) -> None:
  """Refuses records that are not the sound of a plan.

  Args:
    plan: `tf_pcc.audit.CanaryPlan`.
    spoken: the records beside it.
    path: their directory, for the message.

  Raises:
    ValueError: If a canary is missing or has another text.
  """
  texts = dict(zip(spoken.ids, spoken.texts))
  missing = [c.id for c in plan.all if c.id not in texts]
  other = [
    c.id
    for c in plan.all
    if c.id in texts and texts[c.id] != text.normalize(c.text)
  ]
  if missing or other:
    raise ValueError(
      f"{path} must be the sound of the plan beside it; remove it to have the "
      "canaries synthesised again. Received: no sound of "
      f"{len(missing)} canaries "
      f"{missing[:5]}, another text for {len(other)} {other[:5]}"
    )


def require_share(
  config: config_dict.ConfigDict, utterances: int, total: int = 0
) -> None:
  """Refuses more canaries than canaries.max_share.

  Args:
    config: the experiment's `ConfigDict`.
    utterances: of the corpus, without canaries.
    total: utterances of a run, with canaries; default 0, no run is planned.

  Raises:
    ValueError: If there are more; or the share is not above 0 and at most 1.
  """
  fields = config.canaries
  if not 0 < fields.max_share <= 1:
    raise ValueError(
      "canaries.max_share must be above 0 and at most 1. Received: "
      f"canaries.max_share={fields.max_share}"
    )
  inserted = sum(fields.repetitions) * fields.per_count
  total = max(total, utterances + inserted)
  if inserted > fields.max_share * total:
    raise ValueError(
      "canaries must be at most a share of canaries.max_share of what is "
      "trained on, or the recogniser learns little else: lower "
      "canaries.per_count or canaries.repetitions, or take more utterances or "
      f"steps. Received: {inserted} of {total} utterances are canaries, "
      f"canaries.max_share={fields.max_share}"
    )

"""Draws a canary plan: what is inserted how often, and what is held out.

A canary is a random transcript, spoken by a synthetic voice and sped up, so
that nothing but having trained on it teaches a recogniser to write it down
(Wang, Thakkar, Mathews, ICASSP 2024, arXiv 2310.11739). Inserted and hold-out
canaries come from one generator and differ in nothing but the insertion.
"""

import collections
import dataclasses
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tf_pcc.audit import checks, plan_fields, texts
from tf_pcc.audit.canaries import Canary, CanaryPlan
from tf_pcc.data.text import normalize

# Attempts in a row that may fail before the space of texts counts as exhausted.
_PATIENCE = 1000
# English read aloud at a common pace; used when no durations are known.
_CHARACTERS_A_SECOND = 15.0


def estimated_duration(text: str, voice: Mapping[str, Any]) -> float:
  """Time to read a text aloud, at 15 characters a second.

  Args:
    text: transcript.
    voice: not used; all voices count as equally fast.

  Returns:
    Seconds.
  """
  del voice
  return max(1, len(text)) / _CHARACTERS_A_SECOND


def make_plan(
  *,
  voices: Iterable[Mapping[str, Any]],
  kind: str = "words",
  vocabulary: Iterable[str] | None = None,
  length: int = 4,
  templates: Iterable[str] = (),
  speeds: Iterable[float] = (4.0,),
  speed_by: str = "resample",
  repetitions: Iterable[int] = (1, 2, 4, 8, 16, 32),
  canaries_per_count: int = 20,
  holdout: int = 200,
  by_speaker: bool = False,
  ordinary_texts: Iterable[str] = (),
  fits: Callable[[str, float], bool] | None = None,
  duration: Callable[[str, Any], float] = estimated_duration,
  seed: int = 0,
) -> CanaryPlan:
  """Draw a canary plan; equal arguments give the equal plan.

  Voices and speeds are dealt out in turn in random order, separately for each
  repetition count and for the hold-out, so no count has a voice of its own. The
  defaults are this package's, not a paper's.

  Args:
    voices: Sequence of dicts of JSON values, one for each voice; the plan only
      carries them to the synthesiser.
    kind: "words", "characters" or "template"; see `texts.random_text`.
    vocabulary: Sequence of words (or characters); default A to Z for characters
      and ZERO to NINE for a template's secret; "words" needs one.
    length: Words of a text, characters, or words of a secret; default 4.
    templates: For kind="template": sentences that hold "{secret}". No secret
      is drawn twice, since the hold-out's tell what guessing gives.
    speeds: Speed-up factors, each > 0; default 4.0 only.
    speed_by: "resample" (pitch rises, too: stricter, nothing ordinary sounds
      like it) or "engine" (the synthesiser speaks faster).
    repetitions: Different whole counts >= 1; default 1, 2, 4, 8, 16, 32.
    canaries_per_count: Canaries for each count; default 20.
    holdout: Hold-out canaries, at least 20; default 200.
    by_speaker: Whether every voice is a speaker of whom all canaries are
      inserted or all held out, drawn at random in the proportion of the
      canaries; default False. It needs at least 20 voices, of which at least 10
      are on each side. `speakers.speaker_membership` audits them.
    ordinary_texts: Transcripts of the training and test data. No canary equals
      one of them (case and punctuation aside).
    fits: Optional callable (text, seconds) -> bool: whether the labels of the
      text fit the frames of that many seconds. Candidates that do not fit are
      replaced and counted in `plan.dropped`, with a warning.
    duration: Callable (text, voice) -> seconds at speed 1; default 15
      characters a second. Give the synthesiser's own where you can.
    seed: Integer.

  Returns:
    CanaryPlan.

  Raises:
    ValueError: If the hold-out is below 20, settings are empty or repeated,
      there are too few speakers, or the generator has too few texts, or too few
      that fit, for the plan.

  Example:

  >>> plan = make_plan(
  ...   voices=[{"engine": "nanotts", "voice": "en-US"}],
  ...   vocabulary=["APPLE", "RIVER", "STONE", "CLOUD", "TABLE"],
  ... )
  >>> len(plan.canaries), len(plan.holdout)
  (120, 200)
  """
  voices, speeds = list(voices), [float(speed) for speed in speeds]
  repetitions = plan_fields.whole_counts(repetitions)
  templates = tuple(templates)
  if vocabulary is None:
    vocabulary = {"characters": texts.LETTERS, "template": texts.DIGITS}.get(
      kind, ()
    )
  vocabulary = list(dict.fromkeys(vocabulary or ()))
  plan_fields.check_arguments(
    voices, speeds, speed_by, repetitions, canaries_per_count, holdout
  )
  texts.check_generator(kind, vocabulary, length, templates)

  sides = plan_fields.by_side(
    voices, by_speaker, len(repetitions) * canaries_per_count, holdout, seed
  )
  rng = np.random.default_rng(seed)
  taken, secrets = {normalize(text) for text in ordinary_texts}, set()
  ordinary = len(taken)
  dropped = 0

  def draw(voice, speed):
    nonlocal dropped
    unfit = repeated = 0
    for _ in range(_PATIENCE):
      text, secret = texts.random_text(rng, kind, vocabulary, length, templates)
      plain = normalize(text)
      if not plain or plain in taken:
        continue
      hidden = None if secret is None else normalize(secret)
      if hidden == "" or hidden in secrets:
        repeated += 1
        continue
      if fits is not None and not fits(text, duration(text, voice) / speed):
        unfit += 1
        continue
      taken.add(plain)
      if hidden is not None:
        secrets.add(hidden)
      dropped += unfit
      return text, secret
    if unfit:
      raise ValueError(
        f"speeds: {unfit} of {_PATIENCE} candidate canaries have more labels "
        f"than frames at speed {speed:g}; slow them down, shorten them, or use "
        f"a model with more frames a second. Received: speeds={speeds!r}"
      )
    if repeated:
      raise ValueError(
        f"length: the generator ran out of new secrets after {len(secrets)}, "
        "and no two canaries may share one; use longer secrets or a larger "
        f"vocabulary. Received: length={length!r}, a vocabulary of "
        f"{len(vocabulary)}"
      )
    raise ValueError(
      f"length: the generator ran out of new texts after {len(taken)} "
      f"({ordinary} of them ordinary ones); use a larger vocabulary or longer "
      f"texts. Received: length={length!r}, a vocabulary of {len(vocabulary)}"
    )

  def group(name, size, count):
    dealt_voices = _deal(rng, sides[count > 0], size)
    dealt_speeds = _deal(rng, speeds, size)
    digits = len(str(size - 1))
    dealt = enumerate(zip(dealt_voices, dealt_speeds))
    for index, ((speaker, voice), speed) in dealt:
      text, secret = draw(voice, speed)
      yield Canary(
        f"{name}-{index:0{digits}}",
        text,
        json.loads(json.dumps(voice)),
        speed,
        count,
        secret,
        speaker,
      )

  canaries = tuple(
    canary
    for count in repetitions
    for canary in group(f"canary-x{count}", canaries_per_count, count)
  )
  held_out = tuple(group("holdout", holdout, 0))
  plan = CanaryPlan(
    canaries=canaries,
    holdout=held_out,
    settings={
      "kind": kind,
      "vocabulary": vocabulary,
      "length": length,
      "templates": list(templates),
      "speeds": speeds,
      "speed_by": speed_by,
      "repetitions": repetitions,
      "canaries_per_count": canaries_per_count,
      "seed": seed,
      **({"by_speaker": True} if by_speaker else {}),
    },
    dropped=dropped,
  )
  if dropped:
    _warn_dropped(dropped, len(plan.all) + dropped)
  return plan


def drop_unfit(
  plan: CanaryPlan,
  seconds: Mapping[str, float],
  fits: Callable[[str, float], bool],
) -> CanaryPlan:
  """The plan without canaries whose labels do not fit their spoken length.

  For after the synthesis, when the lengths are known and no longer estimated.

  Args:
    plan: CanaryPlan.
    seconds: Mapping of canary id -> seconds of the sped-up speech.
    fits: Callable (text, seconds) -> bool, as in `make_plan`.

  Returns:
    A CanaryPlan; `dropped` counts what was left out here, too.

  Raises:
    ValueError: If a canary has no length, or when fewer than 20 hold-outs or
      no canary of some repetition count remain.
  """
  missing = [canary.id for canary in plan.all if canary.id not in seconds]
  if missing:
    raise ValueError(
      "seconds must hold the length of every canary. "
      f"Received: nothing for {missing[:5]}"
    )

  def fitting(group):
    return tuple(c for c in group if fits(c.text, seconds[c.id]))

  kept = dataclasses.replace(
    plan, canaries=fitting(plan.canaries), holdout=fitting(plan.holdout)
  )
  lost = len(plan.all) - len(kept.all)
  if not lost:
    return plan
  planned = collections.Counter(c.repetitions for c in plan.canaries)
  left = collections.Counter(c.repetitions for c in kept.canaries)
  empty = [count for count in planned if not left[count]]
  if empty or len(kept.holdout) < checks.SMALLEST_HOLDOUT:
    raise ValueError(
      f"seconds: {lost} of {len(plan.all)} canaries have more labels than "
      "frames at their speed, and too few remain; slow them down or shorten "
      f"them. Received: {len(kept.holdout)} hold-outs left, no canary left for "
      f"repetition counts {empty}"
    )
  _warn_dropped(lost, len(plan.all))
  return dataclasses.replace(kept, dropped=plan.dropped + lost)


def _warn_dropped(dropped, drawn):
  warnings.warn(
    f"{dropped} of {drawn} canaries were dropped: more labels than frames at "
    "their speed. Slow them down (a smaller speed factor) or shorten them.",
    stacklevel=3,
  )


def _deal(rng, choices, size):
  """`size` of `choices`, each as often as any other, in random order."""
  order = rng.permutation(size) % len(choices)
  # Which choices get the odd one is random, too.
  names = rng.permutation(len(choices))
  return [choices[names[index]] for index in order]

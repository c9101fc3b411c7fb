"""What a canary plan is made of: arguments to draw it, fields of its file."""

import json
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_pcc.audit import checks
from tf_pcc.data.text import normalize

SPEED_BY = ("resample", "engine")
_PLAN = {"canaries", "holdout", "settings"}
_CANARY = {"id", "text", "voice", "speed", "repetitions"}


def check(fields: Any) -> None:
  """Refuses fields that are no canary plan.

  Args:
    fields: what the plan's JSON holds, without its format.

  Raises:
    ValueError: If a field is wrong; the first is named with its value.
  """
  _names("the plan", fields, _PLAN, {"dropped"})
  if not isinstance(fields["settings"], dict):
    raise ValueError(
      "settings must be an object of the arguments that the plan was drawn "
      f"with. Received: settings={fields['settings']!r}"
    )
  dropped = fields.get("dropped", 0)
  if not _whole(dropped, 0):
    raise ValueError(
      f"dropped must be a whole number of at least 0. Received: {dropped=!r}"
    )
  for group, smallest in (
    ("canaries", 1),
    ("holdout", checks.SMALLEST_HOLDOUT),
  ):
    members = fields[group]
    if not isinstance(members, list) or len(members) < smallest:
      count = len(members) if isinstance(members, list) else repr(members)
      raise ValueError(
        f"{group} must be a list of at least {smallest}. Received: {count}"
      )
    for index, canary in enumerate(members):
      _check_canary(f"{group}[{index}]", canary, group == "holdout")
  ids, texts = {}, {}
  for group in ("canaries", "holdout"):
    for index, canary in enumerate(fields[group]):
      where = f"{group}[{index}]"
      for name, seen, value in (
        ("id", ids, canary["id"]),
        ("text", texts, normalize(canary["text"])),
      ):
        if value in seen:
          raise ValueError(
            f"{where}.{name} must be no other's, case and punctuation aside. "
            f"Received: {name}={canary[name]!r}, as {seen[value]} has"
          )
        seen[value] = where


def _check_canary(where, canary, held_out):
  _names(where, canary, _CANARY, {"secret", "speaker", "coin"})
  wanted = {
    "id": ("a string that is not empty", _string),
    "text": (
      "a string that normalize leaves something of",
      lambda value: isinstance(value, str) and bool(normalize(value)),
    ),
    "voice": ("an object", lambda value: isinstance(value, dict)),
    "speed": ("a factor above 0", _factor),
    "repetitions": (
      ("0, which holds it out", lambda value: _whole(value, 0) and value == 0)
      if held_out
      else ("a whole number of at least 1", lambda value: _whole(value, 1))
    ),
    "secret": (
      "null or a string that is not empty",
      lambda value: value is None or _string(value),
    ),
  }
  counted = canary["repetitions"]
  wanted["speaker"] = wanted["secret"]
  wanted["coin"] = (
    ("null or a whole number of at least 1", _no_coin_or(1))
    if held_out
    else ("null or the canary's repetitions", _no_coin_or(counted, counted))
  )
  for name, (words, right) in wanted.items():
    value = canary.get(name)
    if not right(value):
      raise ValueError(
        f"{where}.{name} must be {words}. Received: {name}={value!r}"
      )


def _names(where, found, needed, optional):
  if not isinstance(found, dict):
    raise ValueError(f"{where} must be an object. Received: {found!r:.80}")
  missing = sorted(needed - set(found))
  unknown = sorted(set(found) - needed - optional)
  if missing or unknown:
    raise ValueError(
      f"{where} must have the fields {sorted(needed)} and no others but "
      f"{sorted(optional)}. Received: missing={missing}, unknown={unknown}"
    )


def _string(value):
  return isinstance(value, str) and bool(value)


def _whole(value, smallest):
  # True is an int, too.
  return type(value) is int and value >= smallest


def _no_coin_or(smallest, largest=math.inf):
  return lambda value: (
    value is None or (_whole(value, smallest) and value <= largest)
  )


def _factor(value):
  return type(value) in (int, float) and 0 < value < math.inf


def whole_counts(repetitions: Iterable[Any]) -> list[int]:
  """Repetition counts as integers.

  Args:
    repetitions: numbers.

  Returns:
    List of int.

  Raises:
    ValueError: If one is not a whole number.
  """
  try:
    return [operator.index(count) for count in repetitions]
  except TypeError as error:
    raise ValueError(
      "repetitions must hold whole numbers. "
      f"Received: repetitions={repetitions!r}"
    ) from error


def check_arguments(
  voices: Sequence[Any],
  speeds: Sequence[float],
  speed_by: str,
  repetitions: Sequence[int],
  canaries_per_count: int,
  holdout: int,
) -> None:
  """Refuses arguments that `make_plan` cannot use.

  Args:
    voices: as in `make_plan`, and so are the others.
    speeds: speed-up factors.
    speed_by: "resample" or "engine".
    repetitions: repetition counts.
    canaries_per_count: canaries for each count.
    holdout: number of hold-outs.

  Raises:
    ValueError: If one is empty, repeated or out of its range.
  """
  if not voices:
    raise ValueError(
      f"voices must hold at least one voice. Received: voices={voices!r}"
    )
  if not speeds or not all(0 < speed < float("inf") for speed in speeds):
    raise ValueError(
      "speeds must hold positive speed-up factors such as 4.0. "
      f"Received: speeds={speeds!r}"
    )
  if speed_by not in SPEED_BY:
    raise ValueError(
      f"speed_by must be one of {SPEED_BY}. Received: speed_by={speed_by!r}"
    )
  distinct = len(set(repetitions)) == len(repetitions)
  if not repetitions or min(repetitions) < 1 or not distinct:
    raise ValueError(
      "repetitions must hold different counts of at least 1. "
      f"Received: repetitions={repetitions!r}"
    )
  if canaries_per_count < 1:
    raise ValueError(
      "canaries_per_count must be at least 1. "
      f"Received: canaries_per_count={canaries_per_count!r}"
    )
  if holdout < checks.SMALLEST_HOLDOUT:
    raise ValueError(
      f"holdout must be at least {checks.SMALLEST_HOLDOUT}: the exposure of a "
      "canary cannot exceed log2(holdout). "
      f"Received: holdout={holdout!r}"
    )


def by_side(
  voices: Sequence[Any],
  by_speaker: bool,
  inserted: int,
  holdout: int,
  seed: int,
) -> tuple[list[tuple[str | None, Any]], list[tuple[str | None, Any]]]:
  """The voices of held-out canaries, and those of inserted ones.

  Args:
    voices: sequence of dicts of JSON values.
    by_speaker: whether a voice may be on one side only.
    inserted: number of canaries to insert.
    holdout: number of canaries to hold out.
    seed: integer.

  Returns:
    (held out, inserted), each a list of (speaker, voice). Without `by_speaker`
    the speaker is None and both lists are the same.

  Raises:
    ValueError: If there are too few voices to split, or two are the same.
  """
  if not by_speaker:
    unnamed: list[tuple[str | None, Any]] = [(None, v) for v in voices]
    return unnamed, unnamed
  least = checks.SMALLEST_SPEAKERS
  different = len({json.dumps(voice, sort_keys=True) for voice in voices})
  if different < max(2 * least, len(voices)):
    raise ValueError(
      f"by_speaker needs at least {2 * least} different voices, {least} to "
      "insert and as many to hold out: add voices or pitches, or leave out "
      f"by_speaker. Received: {len(voices)} voices, {different} different"
    )
  digits = len(str(len(voices) - 1))
  named: list[tuple[str | None, Any]] = [
    (f"speaker-{i:0{digits}}", v) for i, v in enumerate(voices)
  ]
  share = round(len(named) * inserted / (inserted + holdout))
  count = min(max(share, least), len(named) - least)
  # Of a generator of its own: other plans are drawn as ever.
  order = np.random.default_rng([seed, 1]).permutation(len(named))
  return (
    [named[i] for i in sorted(order[count:])],
    [named[i] for i in sorted(order[:count])],
  )

"""What a corpus is like, and which of its utterances look wrong.

`describe` looks at all transcripts and lengths; `suspicions` looks at the
sounds too, and gives the reasons why an utterance may be wrong.
"""

import collections
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_pcc.data.normalizers import name
from tf_pcc.data.sounds import Sound

# Beyond this share of silent frames an utterance is suspicious.
_QUIET = 0.9
# Seconds of an utterance that its words do not take.
_PAUSE = 0.5
# How many times shorter or longer than expected a sound may be.
_SHORTER, _LONGER = 2.0, 3.0
# Transcripts are of one length if their 95% quantile is less than so many times
# the 5% quantile.
_SPREAD = 2.0
# A character is rare in fewer than this share of the utterances.
_RARE = 1e-3
_SHORT, _LONG = 0.3, 35.0
_MARKUP = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>|\{[^}]*\}")


def describe(
  texts: Sequence[str],
  speakers: Iterable[str],
  seconds: Sequence[float] | np.ndarray,
) -> dict[str, Any]:
  """What the transcripts and lengths of a corpus are like.

  Args:
    texts: Normalised transcripts.
    speakers: Names, "" where they are not known.
    seconds: Lengths.

  Returns:
    Dict of JSON values: utterances, hours, speakers, without_speaker (how many
    utterances), seconds (quantiles), words, characters (dict from each to how
    many utterances have it, the commonest first), repeated_texts (how many
    utterances have the text of an earlier one), most_repeated (up to five
    [text, count]), characters_a_second (quantiles) and correlation (of lengths
    of transcripts and of sounds; None for fewer than ten, and where the
    transcripts are of one length). Shifted transcripts have a correlation near
    0.
  """
  seconds = np.asarray(seconds, np.float64)
  letters = np.array([_letters(text) for text in texts], np.float64)
  counts = collections.Counter(texts)
  voices = collections.Counter(speakers)
  characters = collections.Counter(c for text in texts for c in set(text))
  return {
    "utterances": len(texts),
    "hours": float(seconds.sum() / 3600),
    "speakers": len(voices.keys() - {""}),
    "without_speaker": voices[""],
    "seconds": _quantiles(seconds),
    "words": sum(len(text.split()) for text in texts),
    "characters": dict(characters.most_common()),
    "repeated_texts": len(texts) - len(counts),
    "most_repeated": [
      [text, count] for text, count in counts.most_common(5) if count > 1
    ],
    "characters_a_second": _quantiles(letters / np.maximum(seconds, 1e-3)),
    "correlation": _correlation(letters, seconds),
  }


def summary(result: dict[str, Any]) -> str:
  """The result of `describe` in a few lines.

  Args:
    result: What `describe` returned.

  Returns:
    Lines of text.
  """
  rates = result["characters_a_second"]
  lengths = result["seconds"]
  lines = [
    f"{result['utterances']} utterances, {result['hours']:.2f} h, "
    f"{result['speakers'] or 'unknown'} speakers, {result['words']} words, "
    f"{len(result['characters'])} characters",
    f"lengths: {lengths['least']:.2f} to {lengths['greatest']:.2f} s, median "
    f"{lengths['median']:.2f} s",
    f"characters a second: median {rates['median']:.1f}, 5% below "
    f"{rates['5%']:.1f}, 5% above {rates['95%']:.1f}",
  ]
  if result["speakers"] and result["without_speaker"]:
    lines.append(
      f"{result['without_speaker']} utterances have no speaker, the others do"
    )
  correlation = result["correlation"]
  if correlation is not None and correlation < 0.5:
    lines.append(
      f"lengths of transcripts and of sounds hardly agree (correlation "
      f"{correlation:.2f}): do the transcripts belong to these recordings?"
    )
  if result["repeated_texts"]:
    most = ", ".join(
      f"{c} times {t[:40]!r}" for t, c in result["most_repeated"]
    )
    lines.append(
      f"{result['repeated_texts']} utterances have the transcript of another "
      f"one: {most}"
    )
  return "\n".join(lines)


def _correlation(letters, seconds):
  if len(letters) < 10 or not seconds.std():
    return None
  low, high = np.quantile(letters, [0.05, 0.95])
  if high < _SPREAD * max(low, 1):
    return None
  return float(np.corrcoef(letters, seconds)[0, 1])


def _expected(letters, seconds):
  """Lengths in seconds that would be ordinary for transcripts."""
  if not len(letters):
    return letters
  low, high = np.quantile(letters, [0.05, 0.95])
  if high < _SPREAD * max(low, 1):
    return np.full(len(letters), np.median(seconds))
  spoken = np.maximum(seconds - _PAUSE, seconds / 4)
  pace = np.median(letters / spoken)
  return _PAUSE + letters / max(pace, 1e-3)


def suspicions(
  ids: Sequence[str],
  raw: Sequence[str],
  texts: Sequence[str],
  seconds: Sequence[float] | np.ndarray,
  sounds: Sequence[Sound | None],
  known: set[str] | None = None,
) -> list[tuple[float, str, list[str]]]:
  """Why utterances may be wrong.

  Args:
    ids: Names of the utterances.
    raw: Their transcripts as the corpus has them.
    texts: The same, normalised.
    seconds: Their lengths.
    sounds: A `sounds.Sound` of each, or None where it was not looked at.
    known: Set of the characters of a vocabulary. Default: none is given, and
      digits and rare characters are suspicious.

  Returns:
    List of (weight, id, list of reasons), the most suspicious one first; those
    without a reason are left out.
  """
  letters = np.array([_letters(text) for text in texts], np.float64)
  seconds = np.maximum(np.asarray(seconds, np.float64), 1e-3)
  expected = np.maximum(_expected(letters, seconds), 1e-3)
  counts = collections.Counter(c for text in texts for c in set(text))
  if known is None:
    known = {
      c
      for c, count in counts.items()
      if count >= _RARE * len(texts) and (c.isalpha() or not c.isalnum())
    }
  there = [sound for sound in sounds if sound]
  # What the whole corpus is like is no suspicion of a single one.
  usual = {
    field: float(np.median([getattr(sound, field) for sound in there] or [0]))
    for field in ("clipped", "quiet")
  }
  first = {}
  for key, text, sound in zip(ids, texts, sounds):
    if sound:
      first.setdefault(sound.digest, (key, text))
  found = []
  for i, key in enumerate(ids):
    reasons = [
      *_of_text(raw[i], texts[i], known),
      *_of_length(letters[i], seconds[i], expected[i]),
    ]
    if sound := sounds[i]:
      reasons += _of_sound(sound, usual)
      other, text = first[sound.digest]
      if other != key:
        also = "" if text == texts[i] else ", which has another transcript"
        weight = 1.0 if text == texts[i] else 5.0
        reasons.append((weight, f"the same sound as {other}{also}"))
    if reasons:
      reasons.sort(key=lambda reason: -reason[0])
      weight = sum(weight for weight, _ in reasons)
      found.append((weight, key, [words for _, words in reasons]))
  return sorted(found, key=lambda item: (-item[0], item[1]))


def _of_length(letters, seconds, expected):
  ratio = seconds / expected
  if letters and not 1 / _SHORTER < ratio < _LONGER:
    yield (
      2 + abs(np.log2(ratio)),
      f"{letters / seconds:.1f} characters a second: {seconds:.2f} s, where "
      f"{expected:.2f} s would be ordinary",
    )
  if seconds < _SHORT or seconds > _LONG:
    yield 0.5, f"{seconds:.2f} seconds long"


def _of_text(raw, text, known):
  markup = _MARKUP.findall(raw)
  if markup:
    yield 2.0, f"words in brackets: {' '.join(markup)[:60]}"
  if not text:
    yield 2.0, "no words in its transcript"
  unknown = sorted({c for c in text if c not in known and not c.isspace()})
  digits = [c for c in unknown if c.isdigit()]
  others = [name(c) for c in unknown if not c.isdigit()]
  if digits:
    yield 1.5, f"digits: {' '.join(digits)[:60]}"
  if others:
    yield 1.5, f"rare or unknown characters: {' '.join(others)[:60]}"


def _of_sound(sound, usual):
  if sound.is_silent:
    yield 5.0, f"silent: its loudest frame is at {sound.level:.0f} dB"
  elif sound.quiet > max(_QUIET, 1.05 * usual["quiet"]):
    yield 2.0, f"{sound.quiet:.0%} of it is silence"
  if sound.is_clipped and sound.clipped > 5 * usual["clipped"]:
    yield 1.0 + sound.clipped, f"{sound.clipped:.1%} of it is clipped"
  if abs(sound.offset) > 0.05:
    yield 1.0, f"its mean is {sound.offset:+.2f}, not 0"


def _letters(text):
  return len(text) - text.count(" ")


def _quantiles(values):
  """Dict of the least, 5%, 50% and 95% quantiles and the greatest value."""
  if not len(values):
    return {}
  names = ("least", "5%", "median", "95%", "greatest")
  found = np.quantile(values, [0, 0.05, 0.5, 0.95, 1])
  return dict(zip(names, map(float, found)))

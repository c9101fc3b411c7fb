"""Normalizers of transcripts, and what they leave out.

| name | what it does |
|---|---|
| upper | upper case, Latin letters without accents, no punctuation but `'` |
| lower | lower case, accents kept, no punctuation but `'` |
| basic | as lower, without `'` and without what is in brackets |
| none | nothing is left out |
| MODULE:FUNCTION | a function of str to str, such as \
tf_pcc.data.normalizers:turkish |

All of them compose Unicode (NFC) and make runs of white space one space; where
punctuation and symbols are left out, a space takes their place. Marks
belong to their letters: the vowel signs of Hindi and Thai and the voicing marks
of Japanese stay. Letters and digits of every script stay too: how digits are
spoken is not known here, so a tokenizer reports them instead of a wrong
transcript passing silently. `Dropped` counts what a normalizer leaves out.
"""

import collections
import importlib
import re
import sys
import unicodedata
from collections.abc import Callable

_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u0060\u00b4"), "'")
# They join and part letters within words of Persian and of Indic scripts.
_JOINERS = "\u200c\u200d"
_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_EXAMPLES = 10


def upper(text: str) -> str:
  """Upper case, Latin letters without accents, no punctuation but `'`.

  Args:
    text: A transcript.

  Returns:
    The normalised transcript.

  Example:
    >>> upper("It\u2019s a caf\u00e9, isn't it?")
    "IT'S A CAFE ISN'T IT"
  """
  text = text.translate(_APOSTROPHES)
  if not text.isascii():
    kept, letter = [], " "
    # The old letter \u0149 is an apostrophe and an n.
    for c in unicodedata.normalize("NFKD", text).translate(_APOSTROPHES):
      if not unicodedata.combining(c):
        letter = c
      elif unicodedata.name(letter, "LATIN").startswith("LATIN"):
        continue
      kept.append(c)
    text = unicodedata.normalize("NFC", "".join(kept))
  return _words(text.upper(), "'")


def lower(text: str) -> str:
  """Lower case, accents kept, no punctuation but `'`.

  Args:
    text: A transcript.

  Returns:
    The normalised transcript.
  """
  # Python makes two characters of a capital dotted I.
  text = none(text).translate(_APOSTROPHES).replace("\u0130", "i")
  return _words(text.lower(), "'")


def basic(text: str) -> str:
  """Lower case without punctuation and without what is in brackets.

  Args:
    text: A transcript.

  Returns:
    The normalised transcript.
  """
  return _words(lower(_BRACKETS.sub(" ", text)), "")


def turkish(text: str) -> str:
  """`lower` by the rules of Turkish and Azerbaijani: I is the dotless one.

  Args:
    text: A transcript.

  Returns:
    The normalised transcript.
  """
  return lower(none(text).replace("\u0130", "i").replace("I", "\u0131"))


def none(text: str) -> str:
  """The text, composed (NFC), with single spaces.

  Args:
    text: A transcript.

  Returns:
    The normalised transcript.
  """
  return " ".join(unicodedata.normalize("NFC", text).split())


NAMES = {"upper": upper, "lower": lower, "basic": basic, "none": none}
# Those that know no case but that of English.
_CASING = ("upper", "lower", "basic")
# Of their results: another number where one of them gives another text.
_VERSION = 1


def signature(name: str) -> str:
  """What tells that texts have gone through a normalizer of `NAMES` as it is.

  Args:
    name: One of `NAMES`, or MODULE:FUNCTION, which may change at any time.

  Returns:
    Its name with its version and that of Unicode, or "" for a function.
  """
  if name not in NAMES:
    return ""
  return f"{name} {_VERSION}, Unicode {unicodedata.unidata_version}"


def get(name: str) -> Callable[[str], str]:
  """A normalizer by its name.

  Args:
    name: One of `NAMES` or MODULE:FUNCTION, which is imported; modules of the
      standard library are refused, because a run's config may be a stranger's.

  Returns:
    Function of str to str.

  Raises:
    ValueError: If there is none of that name, or it gives no string.
  """
  if name in NAMES:
    return NAMES[name]
  module, _, function = name.partition(":")
  hint = f"one of {', '.join(NAMES)} or MODULE:FUNCTION"
  if not function or module.partition(".")[0] in sys.stdlib_module_names:
    raise ValueError(
      f"The normalizer must be {hint}, not of Python's own library. "
      f"Received: normalizer={name!r}"
    )
  try:
    found = getattr(importlib.import_module(module), function)
    answer = found("A b")
  except Exception as error:
    raise ValueError(
      f"The normalizer must be {hint} that takes a string ({error!r}). "
      f"Received: normalizer={name!r}"
    ) from error
  if not isinstance(answer, str):
    raise ValueError(
      f"The normalizer must give a string. Received: normalizer={name!r}, "
      f"which gave {answer!r}"
    )
  return lambda text: unicodedata.normalize(
    "NFC", found(unicodedata.normalize("NFC", text))
  )


class Dropped:
  """Counts the characters that a normalizer leaves out or changes.

  Case and white space do not count.

  Attributes:
    counts: `collections.Counter` of characters.
    examples: List of up to ten (id, text before, text after), each with a
      character that no earlier one has lost.

  Example:
    >>> dropped = Dropped()
    >>> dropped.add("u1", "50% off", "50 off")
    >>> dropped.counts
    Counter({'%': 1})
  """

  def __init__(self):
    self.counts = collections.Counter()
    self.examples = []
    self._turkish = False

  def add(self, key: str, before: str, after: str) -> None:
    """Compares a text before and after.

    Args:
      key: Id of the utterance.
      before: The transcript.
      after: What the normalizer made of it.
    """
    if not self._turkish and not before.isascii():
      letters = set(unicodedata.normalize("NFC", before))
      self._turkish = not letters.isdisjoint("\u0131\u0130")
    if before.casefold() == after.casefold():
      return
    there, left = _characters(before), _characters(after)
    lost = there - left
    # The dotless letter is the small one of I in Turkish.
    dotless = min((left - there)["\u0131"], before.count("I"))
    if lost["i"] and dotless:
      lost = lost - collections.Counter({"i": dotless})
    if lost and len(self.examples) < _EXAMPLES and lost.keys() - self.counts:
      self.examples.append((key, before, after))
    self.counts += lost

  def advice(self, normalizer: str) -> str:
    """What to think of where the texts seem to be of another language.

    Args:
      normalizer: Name of the one they went through.

    Returns:
      A sentence, or "" where there is nothing to say.
    """
    if not self._turkish or normalizer not in _CASING:
      return ""
    return (
      "some texts have \u0131 or \u0130: if they are Turkish or Azerbaijani, "
      "take the normalizer tf_pcc.data.normalizers:turkish, because "
      f"{normalizer} makes I and i one letter"
    )

  def __str__(self) -> str:
    most = self.counts.most_common(_EXAMPLES)
    shown = ", ".join(f"{count} {name(c)}" for c, count in most)
    more = len(self.counts) - len(most)
    return shown + (f" and {more} other characters" if more else "")


def name(character: str) -> str:
  """A character for messages.

  Args:
    character: One character.

  Returns:
    Itself, or its code such as U+00A0 where it is invisible.
  """
  if unicodedata.category(character)[0] in "MCZ":
    return f"U+{ord(character):04X}"
  return character


def _characters(text):
  text = unicodedata.normalize("NFC", text).replace("\u0130", "i").casefold()
  return collections.Counter(c for c in text if not c.isspace())


def _words(text, kept):
  """Letters with their marks, digits and `kept`; the others become spaces."""
  if not text.isascii():
    # Soft hyphens and marks of direction are within words and show nothing.
    text = "".join(
      c for c in text if unicodedata.category(c) != "Cf" or c in _JOINERS
    )
    # Another case, and letters that are neighbours now, may compose again.
    text = unicodedata.normalize("NFC", text)
  return " ".join(
    "".join(
      c
      if c.isalnum()
      or c in kept
      or c in _JOINERS
      or unicodedata.category(c)[0] == "M"
      else " "
      for c in text
    ).split()
  )

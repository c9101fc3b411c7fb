"""Suspicious utterances are found, and ordinary ones are not."""

import dataclasses

import numpy as np
import pytest

from tf_pcc.data import inspection
from tf_pcc.data.sounds import Sound

WORDS = (
  "THE",
  "OF",
  "AND",
  "TO",
  "IN",
  "A",
  "IS",
  "THAT",
  "FOR",
  "WAS",
  "WITH",
)


def _corpus(count=200, seed=0):
  """Texts of 3 to 30 words at 12 characters a second, give or take 15%."""
  random = np.random.default_rng(seed)
  texts = [
    " ".join(random.choice(WORDS, random.integers(3, 30))) + f" {'AB'[i % 2]}"
    for i in range(count)
  ]
  letters = np.array([len(text.replace(" ", "")) for text in texts])
  seconds = 0.5 + letters / 12 * random.uniform(0.85, 1.15, count)
  return [f"u{i:03d}" for i in range(count)], texts, seconds


def _sound(number):
  return Sound(1.0, 0.5, -10.0, 0.1, 0.0, 0.0, f"d{number}")


def _suspicions(ids, texts, seconds, changed=None, **options):
  sounds = [
    dataclasses.replace(_sound(i), **(changed or {}).get(i, {}))
    for i in range(len(ids))
  ]
  found = inspection.suspicions(ids, texts, texts, seconds, sounds, **options)
  return {key: "; ".join(reasons) for _, key, reasons in found}


def test_an_ordinary_corpus_has_none():
  assert _suspicions(*_corpus()) == {}


def test_shifted_transcripts_are_found():
  ids, texts, seconds = _corpus()
  described = inspection.describe(texts, [""] * 200, seconds)
  assert described["correlation"] > 0.9
  assert "hardly agree" not in inspection.summary(described)
  shifted = texts[1:] + texts[:1]
  described = inspection.describe(shifted, [""] * 200, seconds)
  assert abs(described["correlation"]) < 0.3
  assert "hardly agree" in inspection.summary(described)
  found = _suspicions(ids, shifted, seconds)
  assert len(found) > 40
  assert all("characters a second" in reason for reason in found.values())


def test_a_few_swapped_transcripts_are_the_most_suspicious():
  ids, texts, seconds = _corpus()
  order = np.argsort(seconds)
  for short, long in zip(order[:3], order[::-1][:3]):
    texts[short], texts[long] = texts[long], texts[short]
  found = list(_suspicions(ids, texts, seconds))
  assert set(found) == {ids[i] for i in (*order[:3], *order[-3:])}


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    ({"level": -70.0}, "silent: its loudest frame is at -70 dB"),
    ({"quiet": 0.95}, "95% of it is silence"),
    ({"clipped": 0.02}, "2.0% of it is clipped"),
    ({"offset": -0.2}, "its mean is -0.20, not 0"),
    ({"digest": "d0"}, "the same sound as u000, which has another transcript"),
  ],
)
def test_sounds_that_are_suspicious(change, reason):
  assert _suspicions(*_corpus(), {7: change}) == {"u007": reason}


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    ("PRESS 1 FOR MORE AND THE", "digits: 1"),
    ("THE [BEEP] AND FOR THE OF", "words in brackets: [BEEP]"),
    ("TH\u00c9 AND FOR THE OF", "rare or unknown characters: \u00c9"),
    ("", "no words in its transcript"),
  ],
)
def test_texts_that_are_suspicious(text, reason):
  ids, texts, seconds = _corpus(1200)
  texts[5] = text
  seconds[5] = 0.5 + len(text.replace(" ", "")) / 12
  found = _suspicions(ids, texts, seconds)
  assert list(found) == ["u005"] and reason in found["u005"]


def test_a_vocabulary_decides_which_characters_are_known():
  ids, texts, seconds = _corpus()
  known = set("".join(WORDS)) - {"W"} | set("AB ")
  found = _suspicions(ids, texts, seconds, known=known)
  assert set(found) == {i for i, text in zip(ids, texts) if "W" in text}


def test_words_of_one_length_are_compared_by_their_seconds():
  texts = ["ONE", "TWO", "SIX", "FOUR"] * 25
  ids = [f"u{i:03d}" for i in range(100)]
  seconds = np.full(100, 0.4)
  seconds[3], seconds[4] = 0.1, 3.0
  described = inspection.describe(texts, [""] * 100, seconds)
  assert described["correlation"] is None
  assert set(_suspicions(ids, texts, seconds)) == {"u003", "u004"}


def test_describe():
  found = inspection.describe(
    ["A B", "A B", "C"], ["x", "", "y"], [1.0, 2.0, 3.0]
  )
  assert found["utterances"] == 3 and found["hours"] == 6 / 3600
  assert found["speakers"] == 2 and found["words"] == 5
  assert found["seconds"]["median"] == 2 and found["seconds"]["greatest"] == 3
  assert found["characters"] == {"A": 2, "B": 2, " ": 2, "C": 1}
  assert found["repeated_texts"] == 1 and found["most_repeated"] == [["A B", 2]]
  assert found["characters_a_second"]["median"] == 1


def test_nothing_at_all():
  assert inspection.describe([], [], [])["utterances"] == 0
  assert inspection.suspicions([], [], [], [], []) == []

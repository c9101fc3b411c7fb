"""Normalisation, learnt vocabularies, tokenizer files."""

import random

import pytest

from tf_pcc.data import text


def test_every_seen_character_is_encodable_at_its_place():
  # X only starts words, Z only continues them.
  tokenizer = text.build_tokenizer("wordpiece", ["XA BZ XB AZ"], size=40)
  for word in ("XA", "BZ", "AB", "BZZ"):
    assert tokenizer.decode(tokenizer.encode(word)) == word


def test_wordpieces_aim_at_the_size():
  words = ["".join(random.Random(i).choices("ABCDEF", k=5)) for i in range(300)]
  sizes = [
    text.build_tokenizer("wordpiece", words, size).vocab_size
    for size in (40, 80, 160)
  ]
  assert sizes == sorted(set(sizes))
  assert all(s <= want for s, want in zip(sizes, (40, 80, 160)))


@pytest.mark.parametrize(
  ("given", "expected"),
  [
    ("It\u2019s a caf\u00e9, isn't it?", "IT'S A CAFE ISN'T IT"),
    ("  well-known\tFACTS_ ", "WELL KNOWN FACTS"),
    ("route 66", "ROUTE 66"),
    ("...", ""),
  ],
)
def test_normalize(given, expected):
  assert text.normalize(given) == expected
  assert text.normalize(expected) == expected


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (
      lambda: text.build_tokenizer("letters", ["A"]),
      "Received: kind='letters'",
    ),
    (lambda: text.build_tokenizer("character", [""]), "at least one"),
    (lambda: text.build_tokenizer("wordpiece", ["AB"], 3), "Received: size=3"),
    (lambda: text.build_tokenizer("wordpiece", ["A#"], 99), "'#'"),
    (lambda: text.CharacterTokenizer("AA"), "distinct"),
    (lambda: text.CharacterTokenizer(["AB"]), "single characters"),
    (lambda: text.CharacterTokenizer([text.BLANK]), "id 0"),
    (lambda: text.CharacterTokenizer("A").decode([2]), r"ids=\[2\]"),
    (lambda: text.CharacterTokenizer("A").decode([-1]), r"ids=\[-1\]"),
    (
      lambda: text.tokenizer_from_config({"format": 9, "kind": "word"}),
      "format=9",
    ),
  ],
)
def test_bad_input(call, message):
  with pytest.raises(ValueError, match=message):
    call()


def test_a_file_that_is_no_tokenizer(tmp_path):
  (tmp_path / "v.json").write_text("THE\nAND\n")
  with pytest.raises(ValueError, match="v.json"):
    text.load_tokenizer(tmp_path / "v.json")

"""The tokenizers: round trips, the blank, unknown characters, files."""

import random
import time

import pytest

from tf_pcc.data import text

KINDS = ("character", "word", "wordpiece", "sentencepiece")
WORDS = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "NINE", "DON'T", "'TIS")


def _sentences(seed, count, words=WORDS):
  generator = random.Random(seed)
  return [
    " ".join(generator.choices(words, k=generator.randint(1, 6)))
    for _ in range(count)
  ]


def _build(kind, texts=None):
  if kind == "sentencepiece":
    pytest.importorskip("sentencepiece", reason="learns sentencepieces")
  return text.build_tokenizer(kind, texts or _sentences(0, 300), size=60)


@pytest.mark.parametrize("kind", KINDS)
def test_decode_inverts_encode(kind):
  tokenizer = _build(kind)
  for sentence in _sentences(1, 200):
    ids = tokenizer.encode(sentence)
    assert min(ids) > 0 and max(ids) < tokenizer.vocab_size
    assert tokenizer.decode(ids) == sentence


@pytest.mark.parametrize("kind", ("character", "wordpiece", "sentencepiece"))
def test_new_words_of_known_letters_round_trip(kind):
  tokenizer = _build(kind, _sentences(0, 300) + ["AB BA CD DC AC CA BD DB"])
  letters = random.Random(3)
  known = "ENOT" if kind == "wordpiece" else "ABCDENORT'"
  words = ["".join(letters.choices(known, k=5)) for _ in range(50)]
  for sentence in _sentences(2, 100, words):
    assert tokenizer.decode(tokenizer.encode(sentence)) == sentence


@pytest.mark.parametrize("kind", KINDS)
def test_blank_is_zero_and_counted(kind):
  tokenizer = _build(kind)
  assert tokenizer.pieces[0] == text.BLANK
  assert tokenizer.vocab_size == len(tokenizer.pieces)
  ids = tokenizer.encode("ONE TWO")
  assert tokenizer.decode([0, *ids, 0, 0]) == "ONE TWO"
  assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_give_an_equal_tokenizer(kind, tmp_path):
  tokenizer = _build(kind)
  tokenizer.save(tmp_path / "deep" / "vocabulary.json")
  again = text.load_tokenizer(tmp_path / "deep" / "vocabulary.json")
  assert again == tokenizer and again.pieces == tokenizer.pieces
  sentences = _sentences(4, 50)
  assert again.encode_batch(sentences) == tokenizer.encode_batch(sentences)
  assert [f.name for f in (tmp_path / "deep").iterdir()] == ["vocabulary.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_character_is_named_or_skipped(kind):
  tokenizer = _build(kind)
  with pytest.raises(ValueError, match="(Q|'ONEQ').*text='TWO ONEQ'"):
    tokenizer.encode("TWO ONEQ")
  assert tokenizer.encode_batch(["ONE", "ONEQ", "\u00c9"], strict=False) == [
    tokenizer.encode("ONE"),
    None,
    None,
  ]


@pytest.mark.parametrize("kind", KINDS)
def test_batch_equals_one_by_one_and_the_order_of_texts_is_free(kind):
  texts = _sentences(5, 300)
  tokenizer = _build(kind, texts)
  assert tokenizer == _build(kind, texts[::-1])
  assert tokenizer.encode_batch(texts) == [tokenizer.encode(t) for t in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_eight_thousand_texts_are_fast(kind):
  tokenizer, texts = _build(kind), _sentences(6, 8000)
  start = time.monotonic()
  tokenizer.encode_batch(texts)
  assert time.monotonic() - start < 5


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

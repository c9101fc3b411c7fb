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
def test_surfaces_of_any_ids_make_the_text(kind):
  tokenizer = _build(kind)
  assert len(tokenizer.surfaces) == tokenizer.vocab_size
  assert tokenizer.surfaces[0] == ""
  generator = random.Random(7)
  for _ in range(100):
    ids = generator.choices(range(tokenizer.vocab_size), k=6)
    text_ = tokenizer.decode(ids)
    assert "".join(tokenizer.surfaces[i] for i in ids).strip() == text_
    for mark in ("#", "\u2581", text.BLANK):
      assert mark not in text_


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


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_is_that_of_the_labels(kind, tmp_path):
  made = _build(kind)
  made.save(tmp_path / "t.json")
  assert text.load_tokenizer(tmp_path / "t.json").digest() == made.digest()
  swapped = made.get_config()
  if kind != "sentencepiece":
    first, second, *rest = swapped["pieces"]
    swapped["pieces"] = [second, first, *rest]
    assert text.tokenizer_from_config(swapped).digest() != made.digest()
  assert len({_build(k).digest() for k in KINDS}) == len(KINDS)

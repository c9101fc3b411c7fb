"""The tokenizers: characters, words, wordpieces, sentencepieces.

Id 0 is the CTC blank in every tokenizer and real pieces start at 1, so that a
batch may be padded with 0 and the network's output size is `vocab_size`.
"""

import abc
import base64
from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_pcc import extras
from tf_pcc.data.tokenizer_base import BLANK, FORMAT, Tokenizer

JOINER = "##"
_SPACE_MARK = "\u2581"  # what sentencepiece writes for a space


class CharacterTokenizer(Tokenizer):
  """One label a character; a space is a label like any other.

  Args:
    characters: String or sequence of single characters, in id order from 1.
      Default: space, apostrophe, A-Z.

  Raises:
    ValueError: If one is repeated or is not a single character.

  Example:
    >>> CharacterTokenizer().encode("A B")
    [3, 1, 4]
  """

  kind = "character"

  def __init__(
    self, characters: Iterable[str] = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
  ):
    super().__init__(characters)
    long = [c for c in self.pieces[1:] if len(c) != 1]
    if long:
      raise ValueError(
        f"`characters` must be single characters. Received: characters={long}"
      )

  def _encode_all(self, texts):
    for text in texts:
      ids = [self._ids.get(c) for c in text]
      yield None if None in ids else ids

  def _surface(self, piece: str) -> str:
    return piece


class _ByWords(Tokenizer):
  """A tokenizer that cuts each word on its own and remembers the result."""

  def __init__(self, pieces):
    super().__init__(pieces)
    self._words = {}

  def _encode_all(self, texts):
    split = [text.split() for text in texts]
    known = self._words
    new = sorted({w for words in split for w in words if w not in known})
    if new:
      self._words.update(zip(new, self._cut(new)))
    for words in split:
      cut = [self._words[word] for word in words]
      yield None if None in cut else [i for ids in cut for i in ids]

  @abc.abstractmethod
  def _cut(self, words) -> Any:
    """A list of ids, or None, for each word."""


class WordTokenizer(_ByWords):
  """One label a word, for closed vocabularies such as spoken digits.

  Args:
    pieces: The words, in id order from 1.
  """

  kind = "word"

  def _cut(self, words):
    return [[self._ids[w]] if w in self._ids else None for w in words]

  def _unknown(self, text):
    return next((w for w in text.split() if w not in self._ids), None)

  def _surface(self, piece: str) -> str:
    return " " + piece


class WordpieceTokenizer(_ByWords):
  """Wordpieces, cut by tensorflow-text: greedy longest match in each word.

  Args:
    pieces: The pieces in id order from 1; a piece that continues a word
      starts with `##`.

  Raises:
    ValueError: If there are no pieces, or one is empty, repeated or longer than
      256 bytes.

  References:
    Song et al., "Fast WordPiece Tokenization", EMNLP 2021.
  """

  kind = "wordpiece"

  def __init__(self, pieces: Iterable[str]):
    super().__init__(pieces)
    # The unknown token shares id 0 with the blank, which no text may contain.
    try:
      self._cutter = tensorflow_text_module().FastWordpieceTokenizer(
        list(self.pieces),
        suffix_indicator=JOINER,
        max_bytes_per_word=1000,
        unknown_token=BLANK,
        no_pretokenization=True,
      )
    except RuntimeError as error:
      raise ValueError(
        "`pieces` must be wordpieces, none of them empty or longer than 256 "
        f"bytes. Received: {str(error)[:200]}"
      ) from error

  def _cut(self, words):
    rows = self._cutter.tokenize(words).to_list()
    return [None if 0 in ids else ids for ids in rows]

  def _unknown(self, text):
    for word in text.split():
      if self._cut([word])[0] is None:
        for place, c in enumerate(word):
          if (c if place == 0 else JOINER + c) not in self._ids:
            return c
        return word
    return None

  def _surface(self, piece: str) -> str:
    return piece[len(JOINER) :] if piece.startswith(JOINER) else " " + piece


class SentencepieceTokenizer(Tokenizer):
  """Sentencepieces, cut by tensorflow-text with a sentencepiece model.

  Args:
    model: The serialised sentencepiece model, as `bytes`. Its id 0 must be the
      unknown piece and it must have no control pieces (`build_tokenizer`
      trains it so): then its ids are this tokenizer's ids.

  Raises:
    ValueError: If `model` is no sentencepiece model, or not such a one.
  """

  kind = "sentencepiece"

  def __init__(self, model: bytes):
    text = tensorflow_text_module()
    self._model = model
    from tensorflow import errors

    try:
      self._cutter = text.SentencepieceTokenizer(model=model)
    except errors.OpError as error:
      raise ValueError(
        "`model` must be a sentencepiece model. Received: "
        f"{len(model)} bytes, {error.message}"
      ) from error
    size = int(self._cutter.vocab_size())
    names = self._cutter.id_to_string(np.arange(size, dtype=np.int32))
    super().__init__([name.decode() for name in names.numpy()][1:])

  def get_config(self) -> dict[str, Any]:
    return {
      "format": FORMAT,
      "kind": self.kind,
      "model": base64.b64encode(self._model).decode(),
    }

  def _encode_all(self, texts):
    if not len(texts):
      return []
    rows = self._cutter.tokenize(list(texts)).to_list()
    return [None if 0 in ids else ids for ids in rows]

  def _unknown(self, text):
    return next((c for c in text if self._encode_all([c])[0] is None), text)

  def _surface(self, piece: str) -> str:
    return piece.replace(_SPACE_MARK, " ")


def tensorflow_text_module() -> Any:
  """The tensorflow-text module, or an error that says how to get it."""
  return extras.load("tensorflow_text", "A tokenizer of pieces", "")

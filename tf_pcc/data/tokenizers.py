"""The tokenizers: characters, words, wordpieces, sentencepieces.

Id 0 is the CTC blank in every tokenizer and real pieces start at 1, so that a
batch may be padded with 0 and the network's output size is `vocab_size`.
"""

import abc
import base64
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_pcc import extras, files

BLANK = "<blank>"
FORMAT = 1
JOINER = "##"
_SPACE_MARK = "\u2581"  # what sentencepiece writes for a space


class Tokenizer(abc.ABC):
  """What every tokenizer does; see the subclasses for how it cuts words.

  Args:
    pieces: The real pieces in id order, without the blank: `pieces[0]` gets
      id 1. They must be distinct and not empty.

  Attributes:
    pieces: Tuple of all pieces, the blank first, so `pieces[i]` has id `i`.
    surfaces: Tuple with what each id adds to a text, spaces included, "" for
      the blank: joined, and stripped at the ends, they are the text.
    vocab_size: `len(pieces)`: the CTC blank is counted.

  Raises:
    ValueError: If there are no pieces, or one is empty, repeated or the blank.
  """

  kind = None

  def __init__(self, pieces: Iterable[str]):
    pieces = tuple(pieces)
    if not pieces or "" in pieces or len(set(pieces)) != len(pieces):
      raise ValueError(
        "`pieces` must be distinct, non-empty strings, at least one. "
        f"Received: pieces={pieces}"
      )
    if BLANK in pieces:
      raise ValueError(f"`pieces` must not hold {BLANK!r}: it is id 0 already.")
    self.pieces = (BLANK, *pieces)
    self.surfaces: tuple[str, ...] = ("", *map(self._surface, pieces))
    self._ids = {piece: i for i, piece in enumerate(self.pieces)}

  @property
  def vocab_size(self) -> int:
    return len(self.pieces)

  def encode(self, text: str) -> list[int]:
    """The label ids of one text.

    Args:
      text: A normalised string (see `normalize`).

    Returns:
      List of ints in [1, vocab_size).

    Raises:
      ValueError: If the text has something outside the vocabulary; it is named.
    """
    return self.encode_batch([text])[0]

  def encode_batch(
    self, texts: Sequence[str], strict: bool = True
  ) -> list[Any]:
    """The label ids of many texts at once, much faster than one by one.

    Args:
      texts: Sequence of normalised strings.
      strict: Whether a text outside the vocabulary is an error. Default True.

    Returns:
      List with one list of ints for each text. With `strict=False` a text
      outside the vocabulary gives None.

    Raises:
      ValueError: If `strict` and a text is outside the vocabulary; it is named.
    """
    result = []
    for text, ids in zip(texts, self._encode_all(texts)):
      if strict and ids is None:
        raise ValueError(self._complaint(text))
      result.append(ids)
    return result

  def decode(self, ids: Iterable[int]) -> str:
    """The text of label ids; blanks (id 0, also padding) are left out.

    Args:
      ids: Sequence of ints in [0, vocab_size). Repeats are kept: collapsing
        a CTC path is the decoder's work.

    Returns:
      A string without space at its ends.

    Raises:
      ValueError: If an id is outside the vocabulary.
    """
    ids = np.asarray(ids, np.int64).reshape(-1)
    bad = ids[(ids < 0) | (ids >= self.vocab_size)]
    if bad.size:
      raise ValueError(
        f"`ids` must be in [0, {self.vocab_size}). Received: ids={bad.tolist()}"
      )
    return "".join(self.surfaces[i] for i in ids).strip()

  def get_config(self) -> dict[str, Any]:
    """The JSON-serialisable description that `tokenizer_from_config` reads."""
    return {
      "format": FORMAT,
      "kind": self.kind,
      "pieces": list(self.pieces[1:]),
    }

  def digest(self) -> str:
    """SHA-256 of all that decides the labels: equal for equal tokenizers."""
    content = json.dumps(self.get_config(), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()

  def save(self, path: str | os.PathLike) -> None:
    """Writes the tokenizer to a JSON file, whole or not at all.

    Args:
      path: The file; missing folders are made.
    """
    path = os.fspath(path)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    content = json.dumps(self.get_config(), ensure_ascii=False, indent=1)
    files.write_text(path, content)

  def _unknown(self, text):
    """The first character (or word) of `text` outside the vocabulary."""
    return next((c for c in text if c not in self._ids), None)

  def _complaint(self, text):
    return (
      f"`text` must use the vocabulary's {self.vocab_size - 1} pieces only; "
      f"{self._unknown(text)!r} is not among them. Received: text={text!r}"
    )

  @abc.abstractmethod
  def _encode_all(self, texts) -> Any:
    """Yields a list of ids, or None, for each text."""

  @abc.abstractmethod
  def _surface(self, piece: str) -> str:
    """What a piece adds to a text."""

  def __eq__(self, other):
    return (
      isinstance(other, Tokenizer) and self.get_config() == other.get_config()
    )

  def __hash__(self):
    return hash((self.kind, self.pieces))

  def __repr__(self):
    return f"{type(self).__name__}(vocab_size={self.vocab_size})"


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

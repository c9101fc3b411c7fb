"""What every tokenizer does, however it cuts words."""

import abc
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tf_pcc import files

BLANK = "<blank>"
FORMAT = 1


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

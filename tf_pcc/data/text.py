"""Text: the default normalizer, and tokenizers learnt, saved and loaded."""

import base64
import collections
import dataclasses
import io
import os
from collections.abc import Iterable, Mapping
from typing import Any

from tf_pcc import extras, files, forms
from tf_pcc.data import normalizers
from tf_pcc.data.tokenizers import (
  BLANK,
  FORMAT,
  JOINER,
  CharacterTokenizer,
  SentencepieceTokenizer,
  Tokenizer,
  WordpieceTokenizer,
  WordTokenizer,
  tensorflow_text_module,
)

__all__ = [
  "BLANK",
  "CharacterTokenizer",
  "SentencepieceTokenizer",
  "Tokenizer",
  "WordTokenizer",
  "WordpieceTokenizer",
  "build_tokenizer",
  "load_tokenizer",
  "normalize",
  "tokenizer_from_config",
]

# The normalizer of English, of canaries, and of all where none is chosen.
normalize = normalizers.upper
_AGAIN = "restore a copy, or make it again with launch.vocabulary"


def tokenizer_from_config(config: Mapping[str, Any]) -> Tokenizer:
  """The tokenizer that `Tokenizer.get_config` described.

  Args:
    config: A dict with `format`, `kind` and the kind's own fields.

  Returns:
    A `Tokenizer`.

  Raises:
    ValueError: If `config` is not as `Tokenizer.get_config` makes it.
  """
  kinds = {
    "character": CharacterTokenizer,
    "word": WordTokenizer,
    "wordpiece": WordpieceTokenizer,
  }
  wrong = forms.mismatch(config, _Description, "config")
  if wrong:
    raise ValueError(
      f"`config` must be as Tokenizer.get_config makes it. Received: {wrong}"
    )
  kind = config["kind"]
  if config.get("format") != FORMAT or kind not in {*kinds, "sentencepiece"}:
    raise ValueError(
      f"`config` must have format {FORMAT} and a known kind. Received: "
      f"format={config.get('format')!r}, kind={kind!r}"
    )
  field = "model" if kind == "sentencepiece" else "pieces"
  if config.get(field) is None:
    raise ValueError(f"`config` of kind {kind} must have {field}.")
  if kind == "sentencepiece":
    return SentencepieceTokenizer(base64.b64decode(config["model"]))
  return kinds[kind](config["pieces"])


@dataclasses.dataclass(frozen=True)
class _Description:
  """What every tokenizer says of itself, and what some say."""

  format: int
  kind: str
  pieces: list[str] | None = None
  model: str | None = None


def load_tokenizer(path: str | os.PathLike) -> Tokenizer:
  """Reads a tokenizer written by `Tokenizer.save`.

  Args:
    path: The file, local or remote.

  Returns:
    A `Tokenizer` equal to the saved one.

  Raises:
    ValueError: If it is damaged or another file, with its name.
  """
  config = files.read_json(path, _AGAIN)
  try:
    return tokenizer_from_config(config)
  except ValueError as error:
    raise ValueError(
      f"{path} must be a tokenizer: {_AGAIN}. {error}"
    ) from error


def build_tokenizer(
  kind: str, texts: Iterable[str], size: int | None = None
) -> Tokenizer:
  """Learns a vocabulary from texts.

  The same texts in any order give the same tokenizer.

  Args:
    kind: "character", "word", "wordpiece" or "sentencepiece".
    texts: Iterable of normalised strings.
    size: For wordpieces and sentencepieces the vocabulary size to aim at, the
      blank included; the learner may stop a few per cent below it. Ignored for
      characters and words, whose number the texts decide.

  Returns:
    A `Tokenizer` that can encode every one of `texts`.

  Raises:
    ValueError: If there is no text or the size does not suit the texts.
  """
  texts = sorted(text for text in texts if text)
  if not texts:
    raise ValueError("`texts` must hold at least one non-empty text.")
  if kind == "character":
    return CharacterTokenizer(sorted(set().union(*texts)))
  words = collections.Counter(w for text in texts for w in text.split())
  if kind == "word":
    return WordTokenizer(sorted(words))
  if kind not in ("wordpiece", "sentencepiece"):
    raise ValueError(
      "`kind` must be character, word, wordpiece or sentencepiece. "
      f"Received: kind={kind!r}"
    )
  characters = sorted(set().union(*words))
  needed = (2 if kind == "wordpiece" else 1) * len(characters) + 2
  if size is None or size < needed:
    raise ValueError(
      f"`size` must be at least {needed} for the {len(characters)} characters "
      f"of these texts. Received: size={size}"
    )
  if kind == "wordpiece":
    return WordpieceTokenizer(_learn_wordpieces(words, size))
  return SentencepieceTokenizer(_train_sentencepiece(texts, size))


def _learn_wordpieces(words, size):
  tensorflow_text_module()
  from tensorflow_text.tools.wordpiece_vocab import (
    wordpiece_tokenizer_learner_lib as learner,
  )

  if any("#" in word for word in words):
    raise ValueError("`texts` must not hold '#': it marks a continued word.")
  unknown = "[UNK]"
  pieces = learner.learn(
    sorted(words.items(), key=lambda item: (-item[1], item[0])),
    size,
    [unknown],
    upper_thresh=max(words.values()) + 1,
    lower_thresh=1,
    joiner=JOINER,
  )
  # Rare letters must stay encodable, and where every count is the same the
  # learner finds no threshold that meets the size: its order is by count.
  single = {c for word in words for c in word[:1]}
  single |= {JOINER + c for word in words for c in word[1:]}
  longer = [p for p in pieces if p not in (*single, unknown, JOINER)]
  return sorted(single) + longer[: size - 1 - len(single)]


def _train_sentencepiece(texts, size):
  sentencepiece = extras.load(
    "sentencepiece", "Learning sentencepieces", "speech"
  )
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts),
      model_writer=model,
      vocab_size=size,
      model_type="unigram",
      character_coverage=1.0,
      normalization_rule_name="identity",
      hard_vocab_limit=False,
      unk_id=0,
      bos_id=-1,
      eos_id=-1,
      pad_id=-1,
      num_threads=1,
      minloglevel=2,
    )
  except RuntimeError as error:
    raise ValueError(
      f"`size` does not suit these texts: {error}. Received: size={size}"
    ) from error
  return model.getvalue()

"""CTC prefix beam search with a word language model: shallow fusion.

On the host, in NumPy and Python: words are strings, and the model is asked
about each of them once it is complete.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

_NEVER = -math.inf


class LanguageModel(Protocol):
  """What the search asks of a language model, such as `ngram.NgramModel`."""

  def start(self) -> Any:
    """The state before a sentence's first word."""
    ...

  def advance(self, state: Any, word: str) -> tuple[float, Any]:
    """The word's log-probability (natural) and the state after it.

    Args:
      state: what `start` or the last step returned.
      word: the next word.

    Returns:
      Its log-probability, natural, and the next state.
    """
    ...

  def end(self, state: Any) -> float:
    """Log-probability (natural) that the sentence ends here.

    Args:
      state: what `start` or the last `advance` returned.

    Returns:
      The log-probability.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Fusion:
  """How the search weighs and prunes.

  A text's score is acoustic + lm_weight * lm + word_bonus * words.

  Attributes:
    language_model: `LanguageModel`.
    lm_weight: float, of the language model's log-probability.
    word_bonus: float for every word; the language model favours few words.
    beam_width: int, prefixes kept in every frame.
    token_floor: float, the log-probability below which a token is not tried in
      a frame, the frame's best excepted; -inf tries all.
  """

  language_model: LanguageModel
  lm_weight: float = 0.5
  word_bonus: float = 1.5
  beam_width: int = 16
  token_floor: float = -10.0


@dataclasses.dataclass(frozen=True)
class Hypothesis:
  """A candidate transcript.

  Attributes:
    ids: tuple of token ids.
    score: float, what the search ranks by.
    acoustic: float, log-probability of the ids given the audio.
    lm: float, log-probability of the text given the language model.
  """

  ids: tuple[int, ...]
  score: float
  acoustic: float
  lm: float


@dataclasses.dataclass(frozen=True)
class _Words:
  """What a prefix says: the words it completes, and the one it is in."""

  lm: float
  count: int
  state: object
  partial: str


class _Speller:
  """Follows prefixes through the language model, each step once."""

  def __init__(self, surfaces, fusion):
    self._surfaces, self._fusion = surfaces, fusion
    self._known = {(): _Words(0.0, 0, fusion.language_model.start(), "")}

  def words(self, prefix):
    """`_Words` of a tuple of token ids."""
    if prefix not in self._known:
      words = self.words(prefix[:-1])
      first, *rest = self._surfaces[prefix[-1]].split(" ")
      partial = words.partial + first
      for part in rest:
        words = self._complete(dataclasses.replace(words, partial=partial))
        partial = part
      self._known[prefix] = dataclasses.replace(words, partial=partial)
    return self._known[prefix]

  def bonus(self, words):
    """What the complete words add to a score."""
    return (
      self._fusion.lm_weight * words.lm + self._fusion.word_bonus * words.count
    )

  def finish(self, prefix):
    """`_Words` with the last word complete and the sentence ended."""
    words = self._complete(self.words(prefix))
    end = self._fusion.language_model.end(words.state)
    return dataclasses.replace(words, lm=words.lm + end)

  def _complete(self, words):
    if not words.partial:
      return words
    log_p, state = self._fusion.language_model.advance(
      words.state, words.partial
    )
    return _Words(words.lm + log_p, words.count + 1, state, "")


def search(
  log_probs: np.ndarray,
  surfaces: Sequence[str],
  fusion: Fusion,
  n_best: int = 1,
  blank: int = 0,
) -> list[Hypothesis]:
  """The n best texts by acoustic and language model together.

  Args:
    log_probs: float [T, V], one utterance's valid frames.
    surfaces: V strings, what each token adds to a text, spaces included (see
      `surfaces` of the tokenizers).
    fusion: `Fusion`.
    n_best: int, at most the beam's width.
    blank: int, the blank's id.

  Returns:
    list of at most n_best `Hypothesis`, best first; an utterance without frames
    has one, which is empty.

  Raises:
    ValueError: If not 1 <= n_best <= beam_width.

  References:
    Graves and Jaitly, "Towards End-to-End Speech Recognition with Recurrent
    Neural Networks", ICML 2014; Hannun et al., "First-Pass Large Vocabulary
    Continuous Speech Recognition using Bi-Directional Recurrent DNNs", arXiv
    1408.2873.
  """
  if not 1 <= n_best <= fusion.beam_width:
    raise ValueError(
      f"n_best must be in 1..beam_width ({fusion.beam_width}). "
      f"Received: n_best={n_best}"
    )
  speller = _Speller(surfaces, fusion)
  # Log-probabilities of each prefix, its last frame blank and not blank.
  beam = {(): (0.0, _NEVER)}
  for frame in np.asarray(log_probs, np.float64):
    floor = min(fusion.token_floor, frame.max())
    tokens = [(int(k), float(frame[k])) for k in np.flatnonzero(frame >= floor)]
    beam = _prune(_extend(beam, tokens, blank), speller, fusion.beam_width)
  found = []
  for prefix, ends in beam.items():
    words, acoustic = speller.finish(prefix), _log_add(*ends)
    score = acoustic + speller.bonus(words)
    found.append(Hypothesis(prefix, score, acoustic, words.lm))
  return sorted(found, key=lambda h: -h.score)[:n_best]


def _extend(beam, tokens, blank):
  """All prefixes one frame on."""
  after = {}

  def add(prefix, in_blank, in_token):
    old = after.get(prefix)
    if old:
      in_blank = _log_add(old[0], in_blank)
      in_token = _log_add(old[1], in_token)
    after[prefix] = in_blank, in_token

  for prefix, (in_blank, in_token) in beam.items():
    both = _log_add(in_blank, in_token)
    last = prefix[-1] if prefix else None
    for token, log_p in tokens:
      if token == blank:
        add(prefix, both + log_p, _NEVER)
      elif token == last:
        # Without a blank between it is the same token going on.
        add(prefix, _NEVER, in_token + log_p)
        if in_blank > _NEVER:
          add((*prefix, token), _NEVER, in_blank + log_p)
      else:
        add((*prefix, token), _NEVER, both + log_p)
  return after


def _prune(beam, speller, width):
  if len(beam) <= width:
    return beam

  def score(item):
    prefix, ends = item
    return _log_add(*ends) + speller.bonus(speller.words(prefix))

  return dict(sorted(beam.items(), key=score, reverse=True)[:width])


def _log_add(a, b):
  if a < b:
    a, b = b, a
  return a if b == _NEVER else a + math.log1p(math.exp(b - a))

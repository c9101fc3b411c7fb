"""How speech is turned into text: greedy, by beam, with a language model.

The flags and what they mean are here once, for every program that transcribes;
`Searcher` is a model that searches as they say.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from absl import flags

from launch.recognition.batches import Key
from launch.recognition.driver import Driver
from models.decoding import alignment, fusion, ngram

_BEAM_WIDTH = 16


@dataclasses.dataclass(frozen=True)
class Search:
  """What to search for.

  Attributes:
    nbest: int, texts of an utterance to give; 0 for the best one alone.
    beam_width: int, prefixes kept in every frame; 0 is greedy, unless nbest or
      arpa need a beam (then 16, or nbest where that is more).
    arpa: path of a word n-gram model, or "".
    lm_weight: float, of the model's log-probability.
    word_bonus: float, added for every word where there is a model.
    timestamps: bool, whether to give the time of each word.

  Raises:
    ValueError: If a number is out of range.
  """

  nbest: int = 0
  beam_width: int = 0
  arpa: str = ""
  lm_weight: float = 0.5
  word_bonus: float = 1.5
  timestamps: bool = False

  def __post_init__(self):
    if not 0 <= self.lm_weight < math.inf:
      raise ValueError(
        "lm_weight must be a finite number, at least 0. "
        f"Received: lm_weight={self.lm_weight}"
      )
    if not math.isfinite(self.word_bonus):
      raise ValueError(
        "word_bonus must be a finite number. "
        f"Received: word_bonus={self.word_bonus}"
      )
    if 0 < self.beam_width < self.nbest:
      raise ValueError(
        f"beam_width must be at least nbest ({self.nbest}). "
        f"Received: beam_width={self.beam_width}"
      )

  @property
  def width(self) -> int:
    """The beam's width, 0 where the search is greedy."""
    if self.beam_width or not (self.nbest or self.arpa):
      return self.beam_width
    return max(_BEAM_WIDTH, self.nbest)


@functools.cache
def define_flags() -> Callable[..., Search]:
  """The flags of a search.

  Returns:
    function () -> the `Search` that they ask for.
  """
  beam_width = flags.DEFINE_integer(
    "beam_width",
    0,
    f"Prefixes kept in every frame; 0 is greedy, {_BEAM_WIDTH} with --nbest "
    "or --arpa.",
    lower_bound=0,
  )
  arpa = flags.DEFINE_string(
    "arpa", "", "Word n-gram model in ARPA form, for CTC models."
  )
  lm_weight = flags.DEFINE_float(
    "lm_weight", Search.lm_weight, "Weight of the language model."
  )
  word_bonus = flags.DEFINE_float(
    "word_bonus", Search.word_bonus, "Score added for every word, with --arpa."
  )

  def search(**more):
    return Search(
      beam_width=beam_width.value,
      arpa=arpa.value,
      lm_weight=lm_weight.value,
      word_bonus=word_bonus.value,
      **more,
    )

  return search


@dataclasses.dataclass(frozen=True)
class Transcript:
  """The transcript of an utterance, and what else the search found.

  Attributes:
    text: the best text.
    nbest: list of dicts with text and score, best first; with a language model
      acoustic and lm too. Scores are natural log-probabilities; a text's paths
      and spellings in the beam are added up. None where not asked for.
    words: list of dicts with word, start and end in seconds, None where not
      asked for.
  """

  text: str
  nbest: list | None = None
  words: list | None = None

  def to_dict(self) -> dict[str, Any]:
    """transcript, and nbest and words where there are any, for JSON."""
    found = {"transcript": self.text, "nbest": self.nbest, "words": self.words}
    return {name: value for name, value in found.items() if value is not None}


class SoundRecogniser(Protocol):
  """What transcribes sounds that fit in its batches."""

  def __call__(
    self,
    sounds: Iterable[tuple[Key, np.ndarray]],
    sample_rate: int,
    total: int | None = None,
  ) -> Iterator[tuple[Key, Transcript]]:
    """Transcribes.

    Args:
      sounds: (key, int16 [samples]) of each, read as needed.
      sample_rate: Hz.
      total: number of sounds, for the bar.

    Yields:
      (key, `Transcript`) of each.
    """
    ...


class Searcher:
  """A model that transcribes as a search says.

  Args:
    driver: `launch.recognition.driver.Driver` of the model.
    search: `Search`.

  Raises:
    ValueError: If the model has no CTC output and arpa needs one, or arpa is
      no language model.
  """

  def __init__(self, driver: Driver, search: Search):
    self._driver, self._search = driver, search
    model = driver.model
    if search.arpa and not model.has_ctc:
      raise ValueError(
        f"--arpa needs a model with a CTC output, which {type(model).__name__} "
        f"has not. Received: arpa={search.arpa}"
      )
    self._fused = None
    if search.arpa:
      self._fused = fusion.Fusion(
        ngram.NgramModel(search.arpa),
        search.lm_weight,
        search.word_bonus,
        search.width,
      )

  def __call__(
    self,
    sounds: Iterable[tuple[Key, np.ndarray]],
    sample_rate: int,
    total: int | None = None,
  ) -> Iterator[tuple[Key, Transcript]]:
    """Transcribes.

    Args:
      sounds: iterable of (key, int16 [samples]), read as needed.
      sample_rate: Hz.
      total: number of utterances, for the bar.

    Yields:
      (key, `Transcript`), a batch at a time.
    """
    for key, found in self._driver.run_sounds(
      self._in_graph, sounds, sample_rate, total=total
    ):
      yield key, self._transcript(found)

  def _in_graph(self, outputs):
    """What of a search is TensorFlow's part: a dict of tensors [B, ...]."""
    model, search = self._driver.model, self._search
    found = {}
    if model.has_ctc and (search.timestamps or self._fused):
      found["frames"] = model.frame_log_probs(outputs)
    elif search.timestamps:
      found["encoded"] = outputs["encoded"], outputs["length"]
    if search.width and not self._fused:
      found["beam"] = model.n_best(outputs, search.width, search.width)
    elif not self._fused:
      found["greedy"] = model.decode(outputs)
    return found

  def _transcript(self, found):
    """`Transcript` of one utterance's row of `_in_graph`."""
    tokenizer, search = self._driver.tokenizer, self._search
    texts = _by_text(self._hypotheses(found), tokenizer)
    words = self._words(found, texts[0][1]) if search.timestamps else None
    nbest = None
    if search.nbest:
      nbest = [{"text": text, **s} for text, _, s in texts[: search.nbest]]
    return Transcript(texts[0][0], nbest, words)

  def _hypotheses(self, found):
    """List of (token ids, dict of scores)."""
    if self._fused:
      log_probs, length = found["frames"]
      return [
        (h.ids, {"score": h.score, "acoustic": h.acoustic, "lm": h.lm})
        for h in fusion.search(
          log_probs[:length],
          self._driver.tokenizer.surfaces,
          self._fused,
          self._search.width,
        )
      ]
    if "beam" in found:
      return [
        (tuple(ids[:count].tolist()), {"score": float(score)})
        for ids, count, score in zip(*found["beam"])
        if score > -math.inf
      ]
    ids, count = found["greedy"]
    return [(tuple(ids[:count].tolist()), {})]

  def _words(self, found, ids):
    """The times of the words that token ids make."""
    model = self._driver.model
    if "frames" in found:
      log_probs, length = found["frames"]
      spans = alignment.align(log_probs[:length], ids)
    else:
      encoded, length = found["encoded"]
      spans = alignment.align_transducer(
        *model.label_log_probs(encoded[:length], ids)
      )
    if not spans:
      return []
    surfaces = [self._driver.tokenizer.surfaces[i] for i in ids]
    return alignment.word_times(surfaces, *spans, model.frame_seconds)


def _by_text(hypotheses, tokenizer):
  """(text, its likeliest ids, scores), the ways to spell a text added up."""
  texts = {}
  for ids, scores in hypotheses:
    text = tokenizer.decode(ids)
    if text not in texts:
      texts[text] = ids, scores
      continue
    best, known = texts[text]
    part = "acoustic" if "acoustic" in scores else "score"
    more = np.logaddexp(known[part], scores[part]) - known[part]
    added = {name: float(known[name] + more) for name in {part, "score"}}
    texts[text] = best, {**known, **added}
  found = [(text, *rest) for text, rest in texts.items()]
  # Greedy has no scores, and one text.
  return sorted(found, key=lambda item: -item[2].get("score", 0.0))

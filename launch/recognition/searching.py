"""How speech is turned into text: greedy, by beam, with a language model.

The flags and what they mean are here once, for every program that transcribes.
"""

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf
from absl import flags

from launch.recognition import error_rates, recognisers
from launch.runs import opening
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
  def width(self):
    """The beam's width, 0 where the search is greedy."""
    if self.beam_width or not (self.nbest or self.arpa):
      return self.beam_width
    return max(_BEAM_WIDTH, self.nbest)


@functools.cache
def define_flags():
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
    "word_bonus", Search.word_bonus, "Added for every word, with --arpa."
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

  def to_dict(self):
    """transcript, and nbest and words where there are any, for JSON."""
    found = {"transcript": self.text, "nbest": self.nbest, "words": self.words}
    return {name: value for name, value in found.items() if value is not None}


def open_recogniser(directory, exported, search, step=None, batch_size=32):
  """What --workdir or --saved_model names.

  Args:
    directory: a run's directory, or None.
    exported: directory that `launch.export` wrote, or another SavedModel (see
      `recognisers.saved_model_function`), or None.
    search: `Search`.
    step: int, which checkpoint of the run; default: the newest.
    batch_size: int.

  Returns:
    function from `Records` or `MemoryRecords` to a list of `Transcript`, and
    the step of the checkpoint, None where it is not known.

  Raises:
    ValueError: when not exactly one is given, or the search or the step is more
      than an exported model offers.
  """
  if bool(directory) == bool(exported):
    raise ValueError(
      "give one of --workdir and --saved_model. Received: "
      f"workdir={directory}, saved_model={exported}"
    )
  if directory:
    model, tokenizer, _, step = opening.load_model(directory, step=step)
    return lambda r: hear(model, tokenizer, r, batch_size, search), step
  if search.width or search.timestamps or step is not None:
    raise ValueError(
      "an exported model transcribes greedily: --nbest, --beam_width, --arpa, "
      "--timestamps and --step need --workdir. Received: "
      f"saved_model={exported}, {search}, step={step}"
    )
  transcribe = recognisers.saved_model_function(exported)

  def hear_exported(records):
    found = [None] * len(records)
    # Of much the same length, so that little is padding.
    order = np.argsort(records.samples, kind="stable")
    for start in range(0, len(order), batch_size):
      rows = order[start : start + batch_size]
      waveforms = [(records.read(i) / 2**15).astype(np.float32) for i in rows]
      texts = transcribe(waveforms, records.sample_rate)
      for row, text in zip(rows, texts):
        found[row] = Transcript(text)
    return found

  return hear_exported, None


def hear(model, tokenizer, records, batch_size, search):
  """Transcribes records as a search says.

  Args:
    model: built model of `models.registry`.
    tokenizer: the model's `tf_pcc.data.text.Tokenizer`.
    records: `Records` or `MemoryRecords`.
    batch_size: int.
    search: `Search`.

  Returns:
    list of `Transcript`, in the order of the records.

  Raises:
    ValueError: when the model has no CTC output and arpa needs one, or arpa is
      no language model.
  """
  has_ctc = model.has_ctc
  if search.arpa and not has_ctc:
    raise ValueError(
      f"--arpa needs a model with a CTC output, which {type(model).__name__} "
      f"has not. Received: arpa={search.arpa}"
    )
  fused = None
  if search.arpa:
    fused = fusion.Fusion(
      ngram.NgramModel(search.arpa),
      search.lm_weight,
      search.word_bonus,
      search.width,
    )

  @tf.function(reduce_retracing=False, autograph=False)
  def recognise(x):
    outputs = model(x, training=False)
    found = {}
    if has_ctc and (search.timestamps or fused):
      found["frames"] = model.frame_log_probs(outputs)
    elif search.timestamps:
      found["encoded"] = outputs["encoded"], outputs["length"]
    if search.width and not fused:
      found["beam"] = model.n_best(outputs, search.width, search.width)
    elif not fused:
      found["greedy"] = model.decode(outputs)
    return found

  results = [None] * len(records)
  for rows, x in error_rates.batches(records, tokenizer, batch_size):
    found = tf.nest.map_structure(lambda t: t.numpy(), recognise(x))
    for i, row in enumerate(rows):
      if row >= 0:
        results[row] = _heard(
          tf.nest.map_structure(lambda t, i=i: t[i], found),
          model,
          tokenizer,
          search,
          fused,
        )
  return results


def _heard(found, model, tokenizer, search, fused):
  """`Transcript` of one utterance's row of outputs."""
  log_probs = None
  if "frames" in found:
    log_probs, length = found["frames"]
    log_probs = log_probs[:length]
  if fused:
    hypotheses = [
      (h.ids, {"score": h.score, "acoustic": h.acoustic, "lm": h.lm})
      for h in fusion.search(log_probs, tokenizer.surfaces, fused, search.width)
    ]
  elif "beam" in found:
    hypotheses = [
      (tuple(ids[:count].tolist()), {"score": float(score)})
      for ids, count, score in zip(*found["beam"])
      if score > -math.inf
    ]
  else:
    ids, count = found["greedy"]
    hypotheses = [(tuple(ids[:count].tolist()), {})]
  texts = _by_text(hypotheses, tokenizer)
  words = None
  if search.timestamps:
    ids = texts[0][1]
    if "frames" in found:
      spans = alignment.align(log_probs, ids)
    else:
      encoded, length = found["encoded"]
      spans = alignment.align_transducer(
        *model.label_log_probs(encoded[:length], ids)
      )
    words = []
    if spans:
      surfaces = [tokenizer.surfaces[i] for i in ids]
      words = alignment.word_times(surfaces, *spans, frame_seconds(model))
  nbest = None
  if search.nbest:
    nbest = [{"text": text, **s} for text, _, s in texts[: search.nbest]]
  return Transcript(texts[0][0], nbest, words)


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


def frame_seconds(model):
  """Seconds between two output frames of a model, a float."""
  # An hour has a whole number of frames.
  hour = 3600 * model.log_mel.sample_rate
  return 3600 / float(model.frames(2 * hour) - model.frames(hour))

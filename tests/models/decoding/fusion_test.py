"""Shallow fusion against enumeration of every path and every text."""

import collections
import itertools
import math

import numpy as np
import pytest

from models.decoding import ctc_decoding, fusion


class _Bigrams:
  """Every pair of words has a log-probability, drawn from its letters."""

  def start(self):
    return "<s>"

  def advance(self, state, word):
    return self._log_p(state, word), word

  def end(self, state):
    return self._log_p(state, "</s>")

  def _log_p(self, before, word):
    seed = [ord(c) for c in f"{before} {word}"]
    return -float(np.random.default_rng(seed).uniform(0.1, 4.0))


class _Fair:
  """Has no opinion."""

  def start(self):
    return None

  def advance(self, state, word):
    return 0.0, None

  def end(self, state):
    return 0.0


def _log_probs(rng, time, classes):
  logits = 2 * rng.normal(size=[time, classes])
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _enumerate(log_probs, surfaces, model, lm_weight, word_bonus, blank):
  """(score, acoustic, lm) of every label sequence."""
  time, classes = log_probs.shape
  acoustic = collections.defaultdict(lambda: -math.inf)
  for path in itertools.product(range(classes), repeat=time):
    ids = tuple(k for k, _ in itertools.groupby(path) if k != blank)
    score = sum(log_probs[t, k] for t, k in enumerate(path))
    acoustic[ids] = np.logaddexp(acoustic[ids], score)
  found = {}
  for ids, log_p in acoustic.items():
    words = "".join(surfaces[i] for i in ids).split()
    state, lm = model.start(), 0.0
    for word in words:
      step, state = model.advance(state, word)
      lm += step
    lm += model.end(state)
    score = log_p + lm_weight * lm + word_bonus * len(words)
    found[ids] = (score, log_p, lm)
  return sorted(found.items(), key=lambda item: -item[1][0])


@pytest.mark.parametrize(
  ("surfaces", "blank"),
  [
    (["", " A", " B", "C"], 0),  # wordpieces
    (["", " ", "A", "B"], 0),  # characters
    ([" A", " B", ""], 2),  # words
    (["", "A ", " B ", "C"], 0),
  ],
)
@pytest.mark.parametrize(("lm_weight", "word_bonus"), [(1.0, 0.0), (0.7, 2.0)])
def test_with_room_for_all_it_is_exact(surfaces, blank, lm_weight, word_bonus):
  rng = np.random.default_rng(len(surfaces) + blank)
  log_probs = _log_probs(rng, 5, len(surfaces))
  model = _Bigrams()
  given = fusion.Fusion(model, lm_weight, word_bonus, 2000, -math.inf)
  found = fusion.search(log_probs, surfaces, given, 20, blank)
  want = _enumerate(log_probs, surfaces, model, lm_weight, word_bonus, blank)
  for hypothesis, (ids, values) in zip(found, want[:20], strict=True):
    assert hypothesis.ids == ids
    np.testing.assert_allclose(
      [hypothesis.score, hypothesis.acoustic, hypothesis.lm], values
    )


def test_without_an_opinion_it_is_the_beam_search():
  rng = np.random.default_rng(3)
  log_probs = _log_probs(rng, 10, 6)
  given = fusion.Fusion(_Fair(), 1.0, 0.0, 1024, -math.inf)
  surfaces = ["", *" ABCD"]
  found = fusion.search(log_probs, surfaces, given, 3)
  ids, counts, scores = ctc_decoding.beam_search(
    log_probs[None].astype(np.float32), [10], 1024, 3
  )
  for n, hypothesis in enumerate(found):
    assert hypothesis.ids == tuple(ids[0, n, : counts[0, n]].numpy())
    np.testing.assert_allclose(hypothesis.acoustic, scores[0, n], rtol=1e-3)


def test_the_language_model_decides_between_words_that_sound_alike():
  class Prefers(_Fair):
    def advance(self, state, word):
      return (0.0 if word == "B" else -5.0), None

  # A is a little likelier to the ear.
  log_probs = np.log([[0.1, 0.5, 0.4], [0.8, 0.1, 0.1]])
  surfaces = ["", " A", " B"]
  for weight, want in ((0.0, (1,)), (1.0, (2,))):
    given = fusion.Fusion(Prefers(), weight, 1.0)
    assert fusion.search(log_probs, surfaces, given)[0].ids == want


def test_a_narrow_beam_and_a_floor_keep_the_best():
  rng = np.random.default_rng(5)
  surfaces = ["", *(f" {c}" for c in "ABCDEFG")]
  for _ in range(5):
    log_probs = _log_probs(rng, 12, 8) * 3
    log_probs -= np.log(np.exp(log_probs).sum(-1, keepdims=True))
    wide = fusion.Fusion(_Bigrams(), beam_width=500, token_floor=-math.inf)
    narrow = fusion.Fusion(_Bigrams(), beam_width=32)
    (best,) = fusion.search(log_probs, surfaces, wide)
    (found,) = fusion.search(log_probs, surfaces, narrow)
    assert found.ids == best.ids
    np.testing.assert_allclose(found.score, best.score, rtol=1e-2)


def test_no_frames():
  given = fusion.Fusion(_Bigrams(), beam_width=4)
  (found,) = fusion.search(np.zeros([0, 3]), ["", " A", " B"], given, 4)
  assert found.ids == () and found.acoustic == 0
  assert found.lm == _Bigrams().end("<s>")


def test_n_best_must_fit_the_beam():
  given = fusion.Fusion(_Fair(), beam_width=2)
  with pytest.raises(ValueError, match="Received: n_best=3"):
    fusion.search(np.zeros([1, 2]), ["", " A"], given, 3)

"""Greedy and beam decoding against enumeration of every path."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf

from models.decoding import ctc_decoding


def _collapse(path, blank=0):
  return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def _enumerate(logits, blank=0):
  """log P of every label sequence, by summing over all V^T paths."""
  logits = logits.astype(np.float64)
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  total = collections.defaultdict(lambda: -np.inf)
  for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
    score = sum(log_p[t, k] for t, k in enumerate(path))
    labels = _collapse(path, blank)
    total[labels] = np.logaddexp(total[labels], score)
  return sorted(total.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("blank", [0, 2, 4])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_greedy_equals_collapsing_in_python(blank, jit_compile):
  rng = np.random.default_rng(blank)
  logits = rng.normal(size=[16, 23, 5]).astype(np.float32)
  lengths = rng.integers(0, 24, 16).astype(np.int32)

  @tf.function(jit_compile=jit_compile)
  def decode(logits, lengths):
    return ctc_decoding.greedy(logits, lengths, blank)

  ids, counts = decode(logits, lengths)
  assert ids.shape == (16, 23)
  for row, count, frames, length in zip(ids, counts, logits, lengths):
    want = _collapse(frames[:length].argmax(1).tolist(), blank)
    assert tuple(row[:count].numpy()) == want
    assert np.all(row[count:] == blank)


def test_greedy_in_bfloat16():
  logits = tf.one_hot([[1, 1, 0, 1, 2]], 3, dtype=tf.bfloat16)
  ids, counts = ctc_decoding.greedy(logits, [5])
  assert ids.numpy().tolist() == [[1, 1, 2, 0, 0]]
  assert counts.numpy().tolist() == [3]


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_beam_with_room_for_all_is_exact(blank, seed):
  rng = np.random.default_rng(seed)
  logits = (2 * rng.normal(size=[2, 5, 3])).astype(np.float32)
  lengths = [5, 3]
  ids, counts, scores = ctc_decoding.beam_search(
    logits, lengths, beam_width=200, n_best=4, blank=blank
  )
  for b in range(2):
    want = _enumerate(logits[b, : lengths[b]], blank)[:4]
    for n, (labels, score) in enumerate(want):
      assert tuple(ids[b, n, : counts[b, n]].numpy()) == labels
      assert np.all(ids[b, n, counts[b, n] :] == blank)
      np.testing.assert_allclose(scores[b, n], score, rtol=1e-4)


def test_beam_sums_over_paths_where_greedy_does_not():
  # Best path: blank blank (0.36); best labelling: "1" (0.64 in three paths).
  logits = np.log([[[0.6, 0.4], [0.6, 0.4]]]).astype(np.float32)
  assert ctc_decoding.greedy(logits, [2])[1].numpy() == [0]
  ids, counts, scores = ctc_decoding.beam_search(logits, [2], n_best=1)
  assert ids[0, 0, : counts[0, 0]].numpy().tolist() == [1]
  np.testing.assert_allclose(scores, [[np.log(0.64)]], rtol=1e-5)


def test_n_best_must_fit_the_beam():
  with pytest.raises(ValueError, match="Received: n_best=5"):
    ctc_decoding.beam_search(tf.zeros([1, 2, 3]), [2], beam_width=4, n_best=5)


def test_beam_fills_up_where_there_are_fewer_sequences():
  # Without frames there is one sequence, with one frame and 3 classes 3.
  rng = np.random.default_rng(0)
  logits = rng.normal(size=[3, 4, 3]).astype(np.float32)
  ids, counts, scores = ctc_decoding.beam_search(
    logits, [0, 1, 4], beam_width=8, n_best=5
  )
  assert counts[0].numpy().tolist() == [0] * 5
  assert scores[0].numpy().tolist() == [0] + [-np.inf] * 4
  want = _enumerate(logits[1, :1])
  for n, (labels, score) in enumerate(want):
    assert tuple(ids[1, n, : counts[1, n]].numpy()) == labels
    np.testing.assert_allclose(scores[1, n], score, rtol=1e-5)
  assert scores[1, 3:].numpy().tolist() == [-np.inf] * 2
  assert not np.any(ids[1, 3:])
  assert np.all(np.isfinite(scores[2]))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_greedy_decodes_nothing_in_what_is_not_finite(jit_compile):
  logits = np.zeros([4, 5, 3], np.float32)
  logits[:, :, 1] = 1
  logits[0, 2, 1], logits[1, 0, 2], logits[3, 4, 0] = np.nan, np.inf, np.nan
  decode = tf.function(ctc_decoding.greedy, jit_compile=jit_compile)
  # The last is bad behind its end only.
  _, counts = decode(logits, [5, 5, 5, 3])
  assert counts.numpy().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_greedy_scores_are_of_the_best_path(jit_compile):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=[4, 6, 5]).astype(np.float32)
  logits[3, 5, 0] = np.nan
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  scores = tf.function(ctc_decoding.greedy_scores, jit_compile=jit_compile)
  np.testing.assert_allclose(
    scores(logits, [6, 4, 0, 5]),
    [log_p[b, :n].max(1).sum() for b, n in ((0, 6), (1, 4), (2, 0), (3, 5))],
    rtol=1e-5,
  )
  assert scores(logits, [6, 4, 0, 6])[3] == -np.inf


def test_beam_decodes_nothing_in_what_is_not_finite():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=[3, 5, 3]).astype(np.float32)
  clean = ctc_decoding.beam_search(logits, [5, 5, 3], 8, n_best=2)
  logits[0, 2], logits[2, 4, 0] = np.nan, np.inf
  ids, counts, scores = ctc_decoding.beam_search(logits, [5, 5, 3], 8, n_best=2)
  assert counts[0].numpy().tolist() == [0, 0]
  assert scores[0].numpy().tolist() == [0, -np.inf]
  np.testing.assert_array_equal(ids[1:], clean[0][1:])
  np.testing.assert_array_equal(scores[1:], clean[2][1:])


def test_no_utterances():
  empty = tf.zeros([0, 4, 3])
  lengths = tf.zeros([0], tf.int32)
  assert ctc_decoding.greedy(empty, lengths)[0].shape == (0, 4)

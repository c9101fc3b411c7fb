"""Greedy and beam search against loops and against all alignments."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from models.decoding import transducer_decoding
from models.layers import joint, prediction

VOCAB, DIM = 4, 5
LENGTHS = [4, 2, 0, 3]


def _networks(name, seed):
  network = prediction.NETWORKS[name](VOCAB, DIM)
  network.build()
  layer = joint.Joint(VOCAB, DIM)
  layer.build((None, None, 3), (None, None, DIM))
  rng = np.random.default_rng(seed)
  for variable in (*network.variables, *layer.variables):
    if variable.dtype == "float32":
      variable.assign(rng.normal(size=variable.shape))
  encoded = rng.normal(size=[4, 4, 3]).astype(np.float32)
  return encoded, network, layer


def _log_probs(encoded, network, layer, t, labels):
  """The classes' log-probabilities at frame t after some labels."""
  output = network(np.array([labels], np.int32).reshape([1, -1]))[:, -1]
  logits = layer(layer.of_encoder(encoded[None, t]), output)
  return tf.nn.log_softmax(logits)[0].numpy().astype(np.float64)


def _naive_greedy(encoded, network, layer, max_symbols):
  labels, score = [], 0.0
  for t in range(len(encoded)):
    for _ in range(max_symbols):
      log_probs = _log_probs(encoded, network, layer, t, labels)
      best = int(np.argmax(log_probs))
      score += log_probs[best]
      if not best:
        break
      labels.append(best)
  return labels, score


def _all_sequences(encoded, network, layer):
  """log P of every sequence, over alignments of at most one label a frame."""
  scores, known = {}, {}
  for choice in itertools.product(range(VOCAB), repeat=len(encoded)):
    labels, score = (), 0.0
    for t, label in enumerate(choice):
      if (t, labels) not in known:
        known[t, labels] = _log_probs(encoded, network, layer, t, labels)
      score += known[t, labels][label]
      labels += (label,) if label else ()
    scores[labels] = np.logaddexp(scores.get(labels, -np.inf), score)
  return sorted(scores.items(), key=lambda item: -item[1])


def _cut(ids, count):
  assert not np.any(ids[count:])
  return tuple(ids[:count].tolist())


@pytest.mark.parametrize("name", prediction.NETWORKS)
@pytest.mark.parametrize("max_symbols", [1, 3])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_greedy_equals_a_loop(name, max_symbols, jit_compile):
  said = 0
  encoded, network, layer = _networks(name, 0)

  @tf.function(jit_compile=jit_compile, autograph=False)
  def greedy(encoded):
    return transducer_decoding.greedy_scored(
      encoded, tf.constant(LENGTHS), network, layer, max_symbols
    )

  for seed in range(3):
    encoded = np.random.default_rng(seed).normal(size=[4, 4, 3])
    encoded = encoded.astype(np.float32)
    ids, counts, scores = greedy(encoded)
    assert ids.dtype == counts.dtype == tf.int32
    assert ids.shape == [4, 4 * max_symbols]
    for b, length in enumerate(LENGTHS):
      want, score = _naive_greedy(
        encoded[b, :length], network, layer, max_symbols
      )
      np.testing.assert_allclose(scores[b], score, rtol=1e-5, atol=1e-6)
      assert _cut(ids[b].numpy(), counts[b]) == tuple(want)
      said += len(want)
  assert said


@pytest.mark.parametrize("name", prediction.NETWORKS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_wide_beam_finds_and_scores_every_sequence(name, jit_compile):
  encoded, network, layer = _networks(name, 1)
  encoded = encoded[:, :3]
  lengths = np.minimum(LENGTHS, 3)

  @tf.function(jit_compile=jit_compile, autograph=False)
  def search():
    return transducer_decoding.beam_search(
      tf.constant(encoded),
      tf.constant(lengths, tf.int32),
      network,
      layer,
      beam_width=85,
      n_best=85,
    )

  ids, counts, scores = (t.numpy() for t in search())
  assert ids.shape == (4, 85, 3) and scores.dtype == np.float32
  for b, length in enumerate(lengths):
    want = dict(_all_sequences(encoded[b, :length], network, layer))
    exists = np.isfinite(scores[b])
    got = [_cut(*pair) for pair in zip(ids[b], counts[b])]
    assert not np.any(counts[b][~exists])
    got = [labels for labels, there in zip(got, exists) if there]
    assert len(got) == len(set(got)) and set(got) == set(want)
    np.testing.assert_allclose(
      scores[b][exists], [want[labels] for labels in got], atol=1e-4
    )
    assert np.all(np.diff(scores[b][exists]) <= 0)
    # Every sequence there is: nothing is lost in merging.
    np.testing.assert_allclose(np.logaddexp.reduce(scores[b]), 0, atol=1e-4)


def test_a_narrow_beam_keeps_the_best():
  encoded, network, layer = _networks("lstm", 2)
  wide = transducer_decoding.beam_search(
    encoded, LENGTHS, network, layer, beam_width=32, n_best=1
  )
  narrow = transducer_decoding.beam_search(
    encoded, LENGTHS, network, layer, beam_width=6, n_best=1
  )
  np.testing.assert_array_equal(wide[0], narrow[0])
  assert np.all(narrow[2] <= wide[2] + 1e-5)


def test_batch_of_any_size():
  encoded, network, layer = _networks("lstm", 3)

  @tf.function(
    input_signature=[
      tf.TensorSpec([None, None, 3]),
      tf.TensorSpec([None], tf.int32),
    ],
    autograph=False,
  )
  def both(encoded, lengths):
    recognised = encoded, lengths, network, layer
    return (
      transducer_decoding.greedy(*recognised),
      transducer_decoding.beam_search(*recognised, beam_width=4, n_best=2),
    )

  (ids, counts), (paths, _, scores) = both(encoded, LENGTHS)
  for b, length in enumerate(LENGTHS):
    (one, count), (path, _, score) = both(
      encoded[b : b + 1, : max(length, 1)], [length]
    )
    assert counts[b] == count[0]
    np.testing.assert_array_equal(ids[b, : one.shape[1]], one[0])
    np.testing.assert_array_equal(paths[b, :, : path.shape[2]], path[0])
    np.testing.assert_allclose(scores[b], score[0], atol=1e-5)


@pytest.mark.parametrize("n_best", [0, 5])
def test_n_best_out_of_range(n_best):
  with pytest.raises(ValueError, match=f"Received: n_best={n_best}"):
    transducer_decoding.beam_search(
      *_networks("lstm", 0)[:1],
      LENGTHS,
      *_networks("lstm", 0)[1:],
      beam_width=4,
      n_best=n_best,
    )

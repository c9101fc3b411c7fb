"""Error rates against edit distances of our own."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from launch.plan import bridge, tracing
from launch.recognition import error_rates
from tests.launch.plan import recognisers
from tf_pcc.data import records


def distance(a, b):
  """Levenshtein's, by its definition."""

  @functools.cache
  def cost(i, j):
    if not i or not j:
      return i + j
    return min(
      cost(i - 1, j) + 1,
      cost(i, j - 1) + 1,
      cost(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
    )

  return cost(len(a), len(b))


@pytest.mark.parametrize("seed", range(5))
def test_rates_are_edit_distances(seed):
  random = np.random.default_rng(seed)

  def lines():
    return [
      " ".join(random.choice(["A", "BC", "D"], random.integers(0, 6)))
      for _ in range(12)
    ]

  references, hypotheses = lines(), lines()
  references[0], hypotheses[0] = "", "A BC"
  references[1], hypotheses[1] = "", ""
  references[2], hypotheses[2] = "A BC", ""
  found = error_rates.score(references, hypotheses)
  words = [
    distance(tuple(r.split()), tuple(h.split()))
    for r, h in zip(references, hypotheses)
  ]
  total = sum(len(r.split()) for r in references)
  letters = sum(distance(r, h) for r, h in zip(references, hypotheses))
  assert found.errors == tuple(words)
  assert found.words == total and found.utterances == 12
  assert found.wer == pytest.approx(sum(words) / total)
  assert found.cer == pytest.approx(letters / sum(map(len, references)))
  assert found.substitutions + found.deletions + found.insertions == sum(words)


def test_counts_of_a_known_case():
  found = error_rates.score(["A B C D", ""], ["A X C", "Y"])
  assert (found.substitutions, found.deletions, found.insertions) == (1, 1, 1)
  assert found.wer == 3 / 4


@pytest.mark.parametrize(
  ("references", "hypotheses"), [([], []), ([""], ["A"]), (["A"], ["A", "B"])]
)
def test_nothing_to_score(references, hypotheses):
  with pytest.raises(ValueError, match=f"{len(references)} references"):
    error_rates.score(references, hypotheses)


def test_transcripts_come_in_the_order_of_the_records():
  """A network that says how long its input is, over several buckets."""

  class Lengths:
    def __call__(self, x, training):
      return x["audio_length"]

    def decode(self, lengths):
      return lengths[:, None], lengths * 0 + 1

  class Tokenizer:
    def encode_batch(self, texts, strict):
      return [[] for _ in texts]

    def decode(self, ids):
      return str(*ids)

  lengths = [5, 900, 40, 40, 1000, 7, 130, 1]
  spoken = records.MemoryRecords([np.zeros(n) for n in lengths], [""] * 8)
  for batch_size in (1, 3, 8, 50):
    found = error_rates.transcribe(Lengths(), Tokenizer(), spoken, batch_size)
    assert found == [str(n) for n in lengths]


def test_the_cores_share_a_batch(make_strategy):
  strategy = make_strategy(4)
  seen = []

  def double(x):
    seen.append(x["a"].shape)
    return 2 * x["a"], tf.reduce_sum(x["b"], axis=1)

  x = {
    "a": tf.range(8),
    "b": tf.reshape(tf.range(24.0), [8, 3]),
  }
  doubled, sums = error_rates.on_all_cores(strategy, double)(x)
  np.testing.assert_array_equal(doubled, 2 * np.arange(8))
  np.testing.assert_array_equal(sums, np.arange(24.0).reshape(8, 3).sum(1))
  assert set(map(tuple, seen)) == {(2,)}


def test_a_tpu_can_decode():
  """The bridge takes greedy decoding: static shapes and no strings."""
  strategy = tracing.tpu_strategy(2)
  model = recognisers.conformer(strategy, None)
  batches = [recognisers.speech(core)[0] for core in range(2)]

  def decode(x):
    return model.decode(model(x, training=False))

  data = tracing.distribute(strategy, batches)
  module = bridge.run(tracing.trace(strategy, decode, data))
  assert bridge.suspects(module) == {}

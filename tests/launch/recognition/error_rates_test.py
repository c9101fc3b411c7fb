"""Error rates against edit distances of our own."""

import functools

import numpy as np
import pytest

from launch.recognition import error_rates


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

"""Utterances of several sources, their labels counted and their order."""

import numpy as np
import pytest

from tests.data import order_reference
from tf_pcc.data import assembly, batching, counting, records, text

RATE = 100
TOKENIZER = text.CharacterTokenizer("AB ")


def _texts(random, count):
  """Some of them empty, some with an unknown letter."""
  letters = random.choice(list("AAABBB X"), [count, 9], p=[0.14] * 7 + [0.02])
  lengths = random.integers(0, 10, count)
  return [" ".join("".join(r[:n]).split()) for r, n in zip(letters, lengths)]


def _source(seed, count, prefix="u"):
  random = np.random.default_rng(seed)
  lengths = random.integers(1, 400, count)
  return records.MemoryRecords(
    [np.full(n, i, np.int16) for i, n in enumerate(lengths)],
    _texts(random, count),
    ids=[f"{prefix}{i}" for i in range(count)],
    sample_rate=RATE,
  )


def _fits(labels, samples):
  return batching.ctc_length(labels) <= samples // 10


def _fits_lengths(labels, repeats, samples):
  return labels + repeats <= samples // 10


@pytest.mark.parametrize("fits", [None, "one", "all"])
@pytest.mark.parametrize("boundaries", [None, (1, 2, 3), (0.2, 0.3, 2.5, 3)])
@pytest.mark.parametrize("insert", [False, True])
def test_the_order_is_that_of_the_first_version(fits, boundaries, insert):
  for seed in range(4):
    sources = [_source(seed, 70), _source(seed + 50, 40, "v")]
    canaries = records.MemoryRecords(
      [np.ones(60 + i, np.int16) for i in range(3)],
      ["AB", "BA", "A"],
      ids=["c0", "c1", "c2"],
      sample_rate=RATE,
    )
    kwargs = {"max_labels": 7, "seed": seed}
    given = {**kwargs, "total_steps": 60}
    if insert:
      given["inserted"] = [
        batching.Insertion(canaries, i, 2 * i + 1) for i in (2, 0, 1)
      ]
    if fits == "one":
      given["fits"] = _fits
    if fits == "all":
      given["fits_lengths"] = _fits_lengths
    batches = batching.Batches(sources, TOKENIZER, 4, boundaries, **given)
    texts = [t for s in sources for t in s.texts]
    expected = order_reference.Order(
      [i for s in sources for i in s.ids],
      TOKENIZER.encode_batch(texts, strict=False),
      [int(n) for s in sources for n in s.samples],
      4,
      boundaries and [round(b * RATE) for b in boundaries],
      fits=_fits if fits else None,
      inserted=[(f"c{i}", 60 + i, 2 * i + 1) for i in (2, 0, 1)]
      if insert
      else (),
      total_steps=60,
      **kwargs,
    )
    if "small_bucket" in expected.filtered:
      # The first version left the longest utterances out; now none is.
      assert "small_bucket" not in batches.filtered
      continue
    assert batches.shapes == expected.shapes
    assert batches.filtered == expected.filtered
    assert set(batches.filtered) >= {"unknown_character", "no_label"}
    assert len(batches) == expected.steps_per_epoch
    for step in range(3 * len(batches)):
      assert batches.ids(step) == expected.ids(step)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_labels_are_counted_as_they_are_encoded(monkeypatch, chunk):
  monkeypatch.setattr(counting, "_CHUNK", chunk)
  texts = [*_texts(np.random.default_rng(0), 200), "", "AA", "AA", "X", ""]
  counts, repeats = assembly.label_counts(TOKENIZER, texts)
  for i, line in enumerate(texts):
    (ids,) = TOKENIZER.encode_batch([line], strict=False)
    assert counts[i] == (-1 if ids is None else len(ids))
    equal = sum(a == b for a, b in zip(ids or (), (ids or ())[1:]))
    assert repeats[i] == equal
  assert min(counts) == -1 and 0 in counts and max(repeats) > 1


def test_no_text_at_all():
  counts, repeats = assembly.label_counts(TOKENIZER, [])
  assert counts.shape == repeats.shape == (0,)


def test_rows_of_several_sources():
  sources = [_source(0, 5), _source(1, 0), _source(2, 3, "v")]
  found = assembly.Utterances(sources)
  names = [name for source in sources for name in source.ids]
  assert [found.id(row) for row in range(len(found))] == names
  np.testing.assert_array_equal(found.read(6), sources[2].read(1))
  np.testing.assert_array_equal(
    found.samples(), [n for s in sources for n in s.samples]
  )
  texts = [line for source in sources for line in source.texts]
  rows = [7, 0, 5]
  assert found.labels(rows, TOKENIZER) == TOKENIZER.encode_batch(
    [texts[row] for row in rows], strict=False
  )

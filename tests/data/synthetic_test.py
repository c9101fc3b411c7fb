"""The synthetic corpus: disjoint, repeatable, cached, resumable."""

import subprocess

import numpy as np
import pytest

from tf_pcc.data import records, synthetic, tts

pytest.importorskip("py_nanotts", reason="speaks with nanotts")

SPLITS = {"train": 12, "validation": 3, "test": 4}


def _spec(**kwargs):
  return synthetic.SyntheticCorpus(**{"splits": SPLITS, **kwargs})


def test_sentences_are_distinct_across_splits():
  spec = synthetic.SyntheticCorpus(splits={"train": 3000, "test": 500})
  splits = spec.sentences()
  everything = [text for texts in splits.values() for text in texts]
  assert {k: len(v) for k, v in splits.items()} == spec.splits
  assert len(set(everything)) == 3500
  counts = {len(text.split()) for text in everything}
  assert counts == {2, 3, 4}
  assert {w for t in everything for w in t.split()} == set(spec.words)


def test_words():
  words = synthetic.COMMON_WORDS
  assert 140 <= len(words) == len(set(words))
  assert all(word.isalpha() and word.isupper() for word in words)


def test_voices_are_in_their_ranges():
  spec = _spec(splits={"train": 300}, pitch=(0.9, 1.2), rate=(1, 1.1))
  pairs = spec.utterances()["train"]
  assert {v.name for _, v in pairs} == {"en-US", "en-GB"}
  assert all(0.9 <= v.pitch <= 1.2 and 1 <= v.rate <= 1.1 for _, v in pairs)
  assert len({v.pitch for _, v in pairs}) > 100


def test_generated_once_and_the_same_whatever_the_processes(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(tts, "UNIT", 5)
  one = synthetic.generate(_spec(), tmp_path / "1", 1, progress=False)
  two = synthetic.generate(_spec(), tmp_path / "2", 2, progress=False)
  for split, count in SPLITS.items():
    first, second = records.Records(one[split]), records.Records(two[split])
    assert len(first) == count
    assert first.index["sha256"] == second.index["sha256"]
    assert list(first.texts) == _spec().sentences()[split]
    assert np.abs(first.read(0).astype(int)).max() > 1000
  assert len(records.Records(one["train"]).index["shards"]) == 3
  monkeypatch.setattr(subprocess, "run", None)
  assert synthetic.generate(_spec(), tmp_path / "1") == one


@pytest.mark.parametrize("processes", [1, 2])
def test_stopped_it_loses_unfinished_units(tmp_path, monkeypatch, processes):
  monkeypatch.setattr(tts, "UNIT", 5)
  speak, sentences = tts.speak_unit, _spec().sentences()["train"]

  def stop_at_the_second(texts, voices):
    if texts == sentences[5:10]:
      raise KeyboardInterrupt
    return speak(texts, voices)

  monkeypatch.setattr(tts, "speak_unit", stop_at_the_second)
  with pytest.raises(KeyboardInterrupt):
    synthetic.generate(_spec(), tmp_path, processes, progress=False)
  assert not list(tmp_path.glob("*/train"))
  spoken_again = []

  def count(texts, voices):
    spoken_again.append(texts)
    return speak(texts, voices)

  monkeypatch.setattr(tts, "speak_unit", count)
  paths = synthetic.generate(_spec(), tmp_path, processes, progress=False)
  assert sentences[:5] not in spoken_again
  assert sentences[5:10] in spoken_again
  assert len(records.Records(paths["train"])) == 12


def test_fingerprint_names_the_specification():
  prints = {
    spec.fingerprint()
    for spec in (
      _spec(),
      _spec(seed=1),
      _spec(pitch=(1, 1.1)),
      _spec(words=("A", "BEE", "SEA", "DAY", "EASE")),
      _spec(splits={"train": 3}),
      _spec(voices=("nanotts:en-GB",)),
    )
  }
  assert len(prints) == 6
  assert _spec().fingerprint() == _spec().fingerprint()


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"splits": {}}, "splits={}"),
    ({"splits": {"train": 0}}, "'train': 0"),
    ({"min_words": 0}, "min_words=0"),
    ({"min_words": 5}, "min_words=5"),
    ({"words": ("A", "A")}, "distinct"),
    ({"voices": ()}, "at least one voice"),
    ({"voices": ("festival:x",)}, "engine='festival'"),
    ({"pitch": (0.1, 1)}, "pitch=0.1"),
    ({"rate": (1, 9)}, "rate=9"),
  ],
)
def test_bad_specifications(kwargs, message):
  with pytest.raises(ValueError, match=message):
    _spec(**kwargs)


def test_too_few_words():
  with pytest.raises(ValueError, match="19 distinct sentences; 6 found"):
    _spec(words=("A", "B"), max_words=2, min_words=1).sentences()

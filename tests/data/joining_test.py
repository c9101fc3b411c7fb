"""Strings of recorded words: what is joined, from which recordings, once."""

import collections
import dataclasses
import multiprocessing
import os

import numpy as np
import pytest
import soundfile

from tf_pcc.data import joining, records

SPEAKERS, WORDS, TAKES = ("ann", "bob"), ("ONE", "TWO", "SIX"), 10


def level_of(speaker, word, take):
  """Every recording is a constant of its own, so it is found in a string."""
  number = (SPEAKERS.index(speaker) * 3 + WORDS.index(word)) * TAKES + take
  return 0.1 + number / 100


@pytest.fixture
def manifest(tmp_path):
  """10 recordings of 3 words by 2 speakers, of 1000 samples each."""
  rows = ["id\tpath\tspeaker\ttext"]
  for speaker in SPEAKERS:
    for word in WORDS:
      for take in range(TAKES):
        name = f"{speaker}-{word}-{take}"
        wave = np.full(1000, level_of(speaker, word, take), np.float32)
        soundfile.write(tmp_path / f"{name}.wav", wave, 16000, "PCM_16")
        rows.append(f"{name}\t{name}.wav\t{speaker}\t{word}")
  path = tmp_path / "manifest.tsv"
  path.write_text("\n".join(rows))
  return str(path)


@pytest.fixture
def spec(manifest):
  return joining.JoinedCorpus(
    manifest, {"train": 40, "test": 20}, {"train": 0.8, "test": 0.2}
  )


def parts(waveform):
  """Levels of the words in a string, and the samples of each pause."""
  change = np.flatnonzero(np.diff(waveform)) + 1
  pieces = np.split(waveform, change)
  return (
    [(round(float(p[0]), 2), len(p)) for p in pieces if p[0]],
    [len(p) for p in pieces if not p[0]],
  )


def test_a_string_is_its_words_of_one_speaker_with_pauses(spec, tmp_path):
  paths = joining.generate(spec, tmp_path / "cache", progress=False)
  by_level = {
    round(level_of(speaker, word, take), 2): (speaker, word, take)
    for speaker in SPEAKERS
    for word in WORDS
    for take in range(TAKES)
  }
  used = collections.defaultdict(set)
  lengths = collections.Counter()
  for split, path in paths.items():
    opened = records.Records(path)
    assert len(opened) == spec.splits[split]
    for i, (text, speaker) in enumerate(zip(opened.texts, opened.speakers)):
      words, pauses = parts(opened.read(i).astype(np.float32) / 2**15)
      spoken = [by_level[level] for level, _ in words]
      assert [word for _, word, _ in spoken] == text.split()
      assert {name for name, *_ in spoken} == {speaker}
      assert {samples for _, samples in words} == {1000}
      assert len(pauses) == len(words) - 1
      assert all(320 <= pause <= 3200 for pause in pauses)
      used[split] |= set(spoken)
      lengths[len(words)] += 1
  # No recording is seen both in training and in the test.
  assert {take for *_, take in used["train"]} == set(range(8))
  assert {take for *_, take in used["test"]} == {8, 9}
  assert set(lengths) == {2, 3, 4, 5, 6}


def content(paths):
  return [records.Records(path).index["sha256"] for path in paths.values()]


def test_the_seed_decides_and_the_cache_remembers(spec, tmp_path):
  one = joining.generate(spec, tmp_path / "a", progress=False)
  same = joining.generate(spec, tmp_path / "b", progress=False)
  assert content(one) == content(same)
  other = joining.generate(
    dataclasses.replace(spec, seed=1), tmp_path / "a", progress=False
  )
  assert not set(other.values()) & set(one.values())
  assert not set(content(other)) & set(content(one))
  before = os.stat(f"{one['train']}/index.json").st_mtime_ns
  assert joining.generate(spec, tmp_path / "a", progress=False) == one
  assert os.stat(f"{one['train']}/index.json").st_mtime_ns == before


def test_other_recordings_or_words_are_another_corpus(spec, manifest, tmp_path):
  cache = tmp_path / "cache"
  first = joining.generate(spec, cache, progress=False)
  with open(manifest) as file:
    lines = file.read()
  with open(manifest, "w") as file:
    file.write(lines.replace("\tSIX", "\tTEN"))
  renamed = joining.generate(spec, cache, progress=False)
  assert renamed["train"] != first["train"]
  assert any("TEN" in t for t in records.Records(renamed["test"]).texts)
  wave = np.full(900, 0.5, np.float32)
  soundfile.write(tmp_path / "ann-ONE-0.wav", wave, 16000, "PCM_16")
  shorter = joining.generate(spec, cache, progress=False)
  assert shorter["train"] != renamed["train"]


def test_two_workers_join_it_once(spec, tmp_path):
  """Both start at once on an empty cache; neither finds half a corpus."""
  cache = str(tmp_path / "cache")
  context = multiprocessing.get_context("spawn")
  with context.Pool(2) as pool:
    found = pool.starmap(joining.generate, [(spec, cache, False)] * 2)
  assert found[0] == found[1]
  for path in found[0].values():
    records.Records(path).verify()


@pytest.mark.parametrize(
  ("fields", "named"),
  [
    ({"splits": {"dev": 3}}, "dev"),
    ({"shares": {"train": 0.8, "test": 0.3}}, "0.3"),
    ({"min_words": 0}, "min_words=0"),
    ({"min_words": 7}, "min_words=7"),
  ],
)
def test_refused_fields(spec, fields, named):
  with pytest.raises(ValueError, match=named):
    dataclasses.replace(spec, **fields)


def test_a_speaker_held_out_is_in_the_test_alone(manifest, tmp_path):
  spec = joining.JoinedCorpus(
    manifest, {"train": 20, "test": 20}, min_words=1, held_out=("bob",)
  )
  paths = joining.generate(spec, tmp_path / "cache", progress=False)
  opened = {split: records.Records(path) for split, path in paths.items()}
  assert set(opened["train"].speakers) == {"ann"}
  assert set(opened["test"].speakers) == {"bob"}
  assert min(len(line.split()) for line in opened["train"].texts) == 1
  for held_out in (("eve",), ("ann", "bob")):
    bad = dataclasses.replace(spec, held_out=held_out)
    with pytest.raises(ValueError, match="`held_out` must name speakers"):
      bad.recordings()


def test_too_few_recordings_of_a_word(manifest, tmp_path):
  spec = joining.JoinedCorpus(
    manifest, {"test": 5}, {"train": 0.97, "test": 0.03}
  )
  with pytest.raises(ValueError, match="'ONE' by speaker 'ann'.*10 recordings"):
    joining.generate(spec, tmp_path / "cache", progress=False)


def test_words_that_are_segments_of_one_file(tmp_path):
  samples = np.repeat([1000, 2000, 3000, 4000], 1600).astype(np.int16)
  soundfile.write(tmp_path / "all.wav", samples, 16000)
  rows = "".join(f"all.wav\t{i / 10}\t0.1\tA\n" for i in range(4))
  path = tmp_path / "words.tsv"
  path.write_text("path\toffset\tseconds\ttext\n" + rows)
  spec = joining.JoinedCorpus(
    str(path), splits={"train": 20}, shares={"train": 1}, pause=(0, 0)
  )
  paths = joining.generate(spec, str(tmp_path / "cache"), progress=False)
  opened = records.Records(paths["train"])
  for i, text in enumerate(opened.texts):
    assert opened.samples[i] == 1600 * len(text.split())
  seen = set(np.concatenate([opened.read(i) for i in range(20)]))
  assert seen == {1000, 2000, 3000, 4000}

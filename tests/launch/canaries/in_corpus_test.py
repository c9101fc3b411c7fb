"""Canaries between the utterances of a corpus."""

import collections
import dataclasses

import numpy as np
import pytest

from launch.canaries import in_corpus, of_run
from tf_pcc import audit
from tf_pcc.data import records
from tf_pcc.data.utterances import Corpus, Utterance

TOTAL = 60


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
  """Canaries whose sound is their number in the plan, at 16 kHz."""
  plan = audit.make_plan(
    voices=[{"engine": "none", "name": "anyone", "pitch": 1.0}],
    vocabulary=["RIVER", "STONE", "CLOUD", "TABLE", "APPLE"],
    repetitions=(1, 4, 10),
    canaries_per_count=3,
    holdout=20,
    seed=3,
  )
  sound = tmp_path_factory.mktemp("planned") / "canaries"
  records.write_records(
    [
      (Utterance(c.id, "", c.text), np.full(8, i, np.int16))
      for i, c in enumerate(plan.all)
    ],
    sound,
    progress=False,
  )
  return of_run.Canaries(plan, records.Records(sound))


def _corpus(total=TOTAL, texts=None):
  """A corpus that is read by `reader`; the sound of utterance i is -i."""
  texts = texts or [f"WORD {chr(65 + i % 26)}" for i in range(total)]
  calls = []

  def read(start, stop, sample_rate):
    calls.append((start, stop, sample_rate))
    return (np.full(8, -i, np.int16) for i in range(start, stop))

  corpus = Corpus(
    "c",
    "c",
    tuple(Utterance(f"u{i:03}", "", t) for i, t in enumerate(texts)),
    reader=read,
  )
  return corpus, calls


def test_each_canary_as_often_as_planned_and_no_hold_out(planned):
  corpus, _ = _corpus()
  mixed = in_corpus.insert(corpus, planned)
  assert [u for u in mixed if u.id.startswith("u")] == list(corpus)
  seen = collections.defaultdict(list)
  for utterance in mixed:
    name, _, repetition = utterance.id.partition("#")
    if repetition:
      seen[name].append(int(repetition))
  plan = planned.plan
  assert seen == {
    c.id: list(range(1, c.repetitions + 1)) for c in plan.canaries
  }
  by_id = {c.id: c for c in plan.canaries}
  for utterance in mixed:
    if "#" in utterance.id:
      assert utterance.text == by_id[utterance.id.split("#")[0]].text
      assert utterance.speaker == "anyone"
  again = in_corpus.insert(corpus, planned)
  assert again.utterances == mixed.utterances


def test_they_are_spread_as_the_schedule_says(planned):
  mixed = in_corpus.insert(_corpus()[0], planned)
  schedule = audit.insertion_schedule(planned.plan, TOTAL, seed=3)
  expected = []
  for position in range(TOTAL):
    expected += [planned.plan.canaries[i].id for i in schedule.at(position)]
    expected.append(f"u{position:03}")
  assert [u.id.split("#")[0] for u in mixed] == expected


@pytest.mark.parametrize(("start", "stop"), [(0, 105), (17, 60), (40, 41)])
def test_every_part_is_read_with_its_own_sound(planned, start, stop):
  corpus, calls = _corpus()
  mixed = in_corpus.insert(corpus, planned)
  assert len(mixed) == 105
  number = {c.id: i for i, c in enumerate(planned.plan.all)}
  found = list(mixed.waveforms(start, stop))
  assert len(found) == stop - start
  for utterance, waveform in zip(mixed.utterances[start:stop], found):
    name = utterance.id.split("#")[0]
    expected = number[name] if name in number else -int(name[1:])
    np.testing.assert_array_equal(waveform, expected)
  # The corpus itself is read once, and no further than needed.
  ((first, last, rate),) = calls
  ordinary = [u for u in mixed.utterances[start:stop] if "#" not in u.id]
  assert last - first == len(ordinary) and rate == 16000


def test_another_rate_changes_the_canaries_length(planned):
  mixed = in_corpus.insert(_corpus()[0], planned)
  for utterance, waveform in zip(mixed, mixed.waveforms(sample_rate=8000)):
    assert len(waveform) == (4 if "#" in utterance.id else 8)


def test_what_cannot_be_inserted(planned):
  with pytest.raises(ValueError, match="at least 10 utterances.*nces=9"):
    in_corpus.insert(_corpus(9)[0], planned)
  plan = planned.plan
  for canary in (plan.canaries[4], plan.holdout[7]):
    corpus, _ = _corpus(texts=["HELLO"] * 30 + [canary.text])
    with pytest.raises(ValueError, match=f"u030 as {canary.id}"):
      in_corpus.insert(corpus, planned)


def test_other_sound_is_other_content(planned, tmp_path):
  """A stopped preparation must not go on with another plan's sound."""
  records.write_records(
    [
      (Utterance(c.id, "", c.text), np.full(8, 99, np.int16))
      for c in planned.plan.all
    ],
    tmp_path / "other",
    progress=False,
  )
  other = dataclasses.replace(
    planned, records=records.Records(tmp_path / "other")
  )
  corpus, _ = _corpus()
  one, two = (in_corpus.insert(corpus, c) for c in (planned, other))
  assert [u.id for u in one] == [u.id for u in two]
  assert one.utterances != two.utterances


def test_stopped_preparing_goes_on_with_the_same_plan_only(planned, tmp_path):
  corpus, calls = _corpus()

  def stopping(start, stop, sample_rate):
    for i, waveform in enumerate(corpus.reader(start, stop, sample_rate)):
      if start + i == 50:
        raise KeyboardInterrupt
      yield waveform

  def write(name, canaries_, reader=corpus.reader, seed=3):
    plan = canaries_.plan
    settings = {**plan.settings, "seed": seed}
    plan = dataclasses.replace(plan, settings=settings)
    mixed = in_corpus.insert(
      dataclasses.replace(corpus, reader=reader),
      of_run.Canaries(plan, canaries_.records),
    )
    calls.clear()
    path = tmp_path / name
    return records.write_records(
      mixed, path, shards=3, workers=1, progress=False
    )

  whole = write("whole", planned)
  assert len(calls) == 3
  with pytest.raises(KeyboardInterrupt):
    write("stopped", planned, stopping)
  assert write("stopped", planned)["sha256"] == whole["sha256"]
  assert len(calls) == 1
  with pytest.raises(KeyboardInterrupt):
    write("other", planned, stopping)
  assert write("other", planned, seed=4)["sha256"] != whole["sha256"]
  assert len(calls) == 3

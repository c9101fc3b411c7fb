"""Sections of long sound: nothing lost, cut in pauses, joined in order."""

import numpy as np
import pytest

from launch.recognition import sections
from launch.recognition.searching import Transcript

RATE = 1000
LENGTHS = sections.Lengths(whole=6.0, section=3.0)


def _blocks(sound, most, seed=0):
  random = np.random.default_rng(seed)
  ends = np.cumsum(random.integers(1, most + 1, 2 * len(sound) // most + 2))
  return np.split(sound, ends[ends < len(sound)])


@pytest.mark.parametrize("most", [50, 700, 5000, 100_000])
@pytest.mark.parametrize("seconds", [0.001, 5, 6, 6.001, 30.5])
def test_sections_are_the_sound(seconds, most):
  random = np.random.default_rng(1)
  sound = random.integers(-999, 999, round(seconds * RATE), np.int16)
  found = list(sections.cut(_blocks(sound, most), RATE, LENGTHS))
  np.testing.assert_array_equal(np.concatenate(found), sound)
  if seconds <= 6:
    assert len(found) == 1
  else:
    assert max(map(len, found)) <= 3 * RATE
    # A pause is looked for in the second half.
    assert min(map(len, found[:-1])) >= 1.5 * RATE


def test_the_cut_is_in_the_pause():
  sound = np.full(20 * RATE, 500, np.int16)
  pauses = [(1.7, 1.95), (4.0, 4.3), (6.5, 6.8), (9.0, 9.3), (11.5, 11.8)]
  pauses += [(14.0, 14.3), (16.4, 16.7)]
  for start, end in pauses:
    sound[round(start * RATE) : round(end * RATE)] = 0
  found = list(sections.cut([sound], RATE, LENGTHS))
  ends = np.cumsum([len(section) for section in found])[:-1] / RATE
  for end in ends[:6]:
    assert any(a <= end <= b for a, b in pauses), end


def _recogniser(read, batch=4):
  """Tells a section's length; answers in batches, in reverse order."""

  def run(sounds, sample_rate, total=None):
    group = []
    for key, sound in sounds:
      group.append((key, Transcript(str(len(sound)))))
      read.append(key)
      if len(group) == batch:
        yield from reversed(group)
        group = []
    yield from reversed(group)

  return run


def test_transcripts_are_joined_and_come_in_order():
  random = np.random.default_rng(2)
  lengths = [500, 40000, 0, 6000, 6001, 100, 0]
  sounds = [random.integers(-9, 9, n).astype(np.int16) for n in lengths]
  read = []
  found = sections.transcribe(
    _recogniser(read),
    ((i, [s] if len(s) else []) for i, s in enumerate(sounds)),
    RATE,
    LENGTHS,
  )
  results = list(found)
  assert [key for key, _ in results] == [0, 1, 3, 4, 5]
  for key, transcript in results:
    counts = list(map(int, transcript.text.split()))
    assert sum(counts) == lengths[key]
    assert len(counts) == 1 or lengths[key] > 6000


def test_transcripts_come_as_soon_as_they_can():
  read = []
  sound = np.zeros(100, np.int16)
  found = sections.transcribe(
    _recogniser(read), ((i, [sound]) for i in range(100)), RATE, LENGTHS
  )
  next(found)
  assert len(read) == 4


def test_times_and_scores_of_sections_are_joined():
  first = Transcript(
    "A B",
    [{"text": "A B", "score": -1.0}, {"text": "A", "score": -3.0}],
    [
      {"word": "A", "start": 0.5, "end": 0.75},
      {"word": "B", "start": 1.0, "end": 1.25},
    ],
  )
  second = Transcript(
    "",
    [{"text": "", "score": -2.0}, {"text": "C", "score": -2.5}],
    [],
  )
  third = Transcript(
    "D",
    [{"text": "D", "score": -0.25}],
    [{"word": "D", "start": 0.125, "end": 0.25}],
  )
  found = sections.join([first, second, third], [0.0, 10.0, 20.5], nbest=3)
  assert found.text == "A B D"
  assert found.nbest == [
    {"text": "A B D", "score": -3.25},
    {"text": "A B C D", "score": -3.75},
    {"text": "A D", "score": -5.25},
  ]
  assert [(w["word"], w["start"], w["end"]) for w in found.words] == [
    ("A", 0.5, 0.75),
    ("B", 1.0, 1.25),
    ("D", 20.625, 20.75),
  ]
  assert sections.join([first], [0.0], 2) is first

"""CTC alignment against enumeration of every path, and words' times."""

import itertools

import numpy as np
import pytest

from models.decoding import alignment, ctc_decoding


def _log_probs(rng, time, classes):
  logits = 2 * rng.normal(size=[time, classes])
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _spans(path, blank):
  """The labels of a path, and where each begins and ends."""
  labels, starts, ends = [], [], []
  place = 0
  for label, run in itertools.groupby(path):
    length = len(list(run))
    if label != blank:
      labels.append(label)
      starts.append(place)
      ends.append(place + length)
    place += length
  return labels, starts, ends


def _best(log_probs, labels, blank):
  time, classes = log_probs.shape
  best, found = -np.inf, None
  for path in itertools.product(range(classes), repeat=time):
    recognised, starts, ends = _spans(path, blank)
    score = sum(log_probs[t, k] for t, k in enumerate(path))
    if recognised == list(labels) and score > best:
      best, found = score, (starts, ends)
  return found


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize(
  "labels", [[], [1], [1, 1], [1, 3], [3, 3, 1], [3] * 4]
)
def test_best_path_of_the_labels(labels, blank):
  rng = np.random.default_rng(len(labels))
  for time in (1, 3, 6):
    log_probs = _log_probs(rng, time, 4)
    want = _best(log_probs, labels, blank)
    found = alignment.align(log_probs, labels, blank)
    if want is None:
      assert found is None
    else:
      assert [list(x) for x in found] == list(want)


def test_of_a_greedy_transcript_it_is_the_greedy_path():
  rng = np.random.default_rng(0)
  for _ in range(20):
    log_probs = _log_probs(rng, 40, 6)
    ids, counts = ctc_decoding.greedy(log_probs[None].astype(np.float32), [40])
    labels, starts, ends = _spans(log_probs.argmax(1).tolist(), 0)
    assert ids[0, : counts[0]].numpy().tolist() == labels
    found = alignment.align(log_probs, labels)
    assert [list(x) for x in found] == [starts, ends]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_best_path_through_a_transducers_lattice(count):
  rng = np.random.default_rng(count)
  for time in (1, 2, 4):
    blank = np.log(rng.uniform(size=[time, count + 1]))
    label = np.log(rng.uniform(size=[time, count]))

    def score(frames, time=time, blank=blank, label=label):
      # Labels said before frame t is left, by the frames they were said in.
      said = [sum(f <= t for f in frames) for t in range(time)]
      return sum(blank[t, said[t]] for t in range(time)) + sum(
        label[f, u] for u, f in enumerate(frames)
      )

    paths = itertools.combinations_with_replacement(range(time), count)
    want = max(paths, key=score)
    starts, ends = alignment.align_transducer(blank, label)
    assert tuple(starts) == want
    np.testing.assert_array_equal(ends, starts + 1)
  assert alignment.align_transducer(blank[:0], label[:0]) is None


def test_no_frames():
  nothing = np.zeros([0, 4])
  assert [list(x) for x in alignment.align(nothing, [])] == [[], []]
  assert alignment.align(nothing, [1]) is None


@pytest.mark.parametrize(
  "surfaces",
  [
    [" ON", "E", " TWO"],  # wordpieces
    ["ON", "E ", "TWO"],
    ["ON", "E", " ", "TWO"],
    ["ON", "E", "  ", "TWO", " "],
  ],
)
def test_words_are_joined_at_spaces(surfaces):
  starts = np.arange(len(surfaces)) * 10
  found = alignment.word_times(surfaces, starts, starts + 3, 0.04)
  assert [w["word"] for w in found] == ["ONE", "TWO"]
  two = surfaces.index(next(s for s in surfaces if "TWO" in s))
  assert found[0]["start"] == 0 and found[0]["end"] == 0.52
  assert found[1]["start"] == round(two * 0.4, 3)
  assert found[1]["end"] == round(two * 0.4 + 0.12, 3)


def test_no_words():
  assert alignment.word_times([], [], [], 0.04) == []
  assert alignment.word_times([" "], [1], [2], 0.04) == []

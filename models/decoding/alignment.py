"""When each token was spoken: the best path of given labels."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np


def align(
  log_probs: np.ndarray, labels: Sequence[int] | np.ndarray, blank: int = 0
) -> tuple[np.ndarray, np.ndarray] | None:
  """The frames of each label on the best path that collapses to the labels.

  Viterbi over CTC's states; for a greedy transcript it is the greedy path.

  Args:
    log_probs: float [T, V], one utterance's valid frames.
    labels: ints [U].
    blank: int, the blank's id.

  Returns:
    int64 [U] first frames and int64 [U] ends (the frame behind the last), or
    None where the labels do not fit the frames.

  Example:
    >>> log_probs = np.log([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1]])
    >>> align(log_probs, [1])
    (array([0]), array([2]))

  References:
    Graves et al., "Connectionist Temporal Classification", ICML 2006.
  """
  log_probs = np.asarray(log_probs, np.float64)
  labels = np.asarray(labels, np.int64).reshape(-1)
  time = len(log_probs)
  # Blank, label, blank, label, ..., blank.
  states = np.full(2 * len(labels) + 1, blank)
  states[1::2] = labels
  # From two states before: past a blank, between labels that differ.
  may_skip = np.zeros(len(states), bool)
  may_skip[3::2] = labels[1:] != labels[:-1]
  scores = np.full(len(states), -np.inf)
  scores[0] = 0.0
  steps = np.zeros([time, len(states)], np.int8)
  for t in range(time):
    before = np.full([3, len(states)], -np.inf)
    before[0] = scores
    # In the first frame, "one before" is the start.
    before[1, 1:] = scores[:-1]
    if t:
      before[2, 2:] = np.where(may_skip[2:], scores[:-2], -np.inf)
    steps[t] = np.argmax(before, axis=0)
    scores = np.max(before, axis=0) + log_probs[t, states]
  state = len(states) - 1
  if len(labels) and (not time or scores[-2] > scores[-1]):
    state -= 1
  if scores[state] == -np.inf:
    return None
  starts = np.zeros(len(labels), np.int64)
  ends = np.zeros(len(labels), np.int64)
  for t in reversed(range(time)):
    if state % 2:
      starts[state // 2] = t
      ends[state // 2] = max(ends[state // 2], t + 1)
    state -= steps[t, state]
  return starts, ends


def align_transducer(
  blank: np.ndarray, label: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
  """The frames of each label on a transducer's best path.

  Viterbi over the lattice: a blank leads to the next frame, a label to the next
  label in the same frame; the last blank ends the path.

  Args:
    blank: float [T, U + 1], log-probability of the blank in frame t after u
      labels.
    label: float [T, U], that of label u + 1 there.

  Returns:
    int64 [U] frames and int64 [U], the frame behind each, or None without
    frames.

  References:
    Graves, arXiv 1211.3711, section 2.3, with a maximum for the sum.
  """
  blank, label = np.asarray(blank, np.float64), np.asarray(label, np.float64)
  time, states = blank.shape
  if not time:
    return None
  # scores[t, u]: best way to be in frame t after u labels.
  scores = np.full([time, states], -np.inf)
  emitted = np.zeros([time, states], bool)
  for t in range(time):
    scores[t] = scores[t - 1] + blank[t - 1] if t else scores[t]
    if not t:
      scores[0, 0] = 0.0
    for u in range(1, states):
      by_label = scores[t, u - 1] + label[t, u - 1]
      if by_label > scores[t, u]:
        scores[t, u], emitted[t, u] = by_label, True
  frames = np.zeros(states - 1, np.int64)
  t, u = time - 1, states - 1
  while u:
    if emitted[t, u]:
      u -= 1
      frames[u] = t
    else:
      t -= 1
  return frames, frames + 1


class WordTime(TypedDict):
  """When a word was spoken.

  Attributes:
    word: without spaces.
    start: seconds.
    end: seconds.
  """

  word: str
  start: float
  end: float


def word_times(
  surfaces: Sequence[str],
  starts: Sequence[int] | np.ndarray,
  ends: Sequence[int] | np.ndarray,
  frame_seconds: float,
) -> list[WordTime]:
  """The words of a text and when they were spoken.

  Args:
    surfaces: list of U strings, what each token adds to the text, spaces
      included (see `surfaces` of the tokenizers).
    starts: ints [U], from `align`.
    ends: ints [U], from `align`.
    frame_seconds: float, seconds between two frames.

  Returns:
    list of dicts with word, start and end, in seconds, rounded to milliseconds.

  Example:

  >>> for word in word_times([" ON", "E", " TWO"], [0, 1, 5], [1, 3, 9], 0.04):
  ...   print(word)
  {'word': 'ONE', 'start': 0.0, 'end': 0.12}
  {'word': 'TWO', 'start': 0.2, 'end': 0.36}
  """
  words = []
  for surface, start, end in zip(surfaces, starts, ends):
    for place, part in enumerate(surface.split(" ")):
      if place or not words:
        words.append(["", start, end])
      if part:
        word = words[-1]
        words[-1] = [word[0] + part, word[1] if word[0] else start, end]
  return [
    {
      "word": word,
      "start": round(float(start * frame_seconds), 3),
      "end": round(float(end * frame_seconds), 3),
    }
    for word, start, end in words
    if word
  ]

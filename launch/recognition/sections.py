"""Sound of any length: cut in sections, whose transcripts are joined.

A section ends where its last part is quietest, so that no word is cut where
there is a pause. For a model a section is minutes long, and windows that
overlap take it from there (`launch.recognition.driver`); a function gives text
without times, which windows could not be joined by, so its sections are short.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from launch.recognition.batches import Key
from launch.recognition.searching import SoundRecogniser, Transcript

# A pause is looked for in the last part of a section, by the energy of so long
# a stretch, in steps of a quarter of it.
_SEARCHED_SECONDS, _SEARCHED_SHARE = 30.0, 0.5
_STRETCH_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Lengths:
  """How long sections are.

  Attributes:
    whole: seconds of sound that is not cut.
    section: seconds of the longest section of what is.
  """

  whole: float
  section: float


# A stretch of 60 seconds is what a model, or an export, takes at once.
OF_MODEL = Lengths(whole=600.0, section=600.0)
OF_FUNCTION = Lengths(whole=60.0, section=30.0)


def cut(
  blocks: Iterable[np.ndarray], sample_rate: int, lengths: Lengths
) -> Iterator[np.ndarray]:
  """Cuts sound at quiet places.

  Args:
    blocks: int16 [samples], one after another; no more of them are read than a
      section needs.
    sample_rate: Hz.
    lengths: `Lengths`.

  Yields:
    int16 [samples], which joined are the blocks joined.
  """
  whole = round(lengths.whole * sample_rate)
  longest = round(lengths.section * sample_rate)
  held, most = np.zeros(0, np.int16), whole
  for block in blocks:
    held = np.concatenate([held, block]) if len(held) else block
    while len(held) > most:
      most = longest
      end = _quietest(held[:longest], sample_rate)
      yield held[:end]
      held = held[end:]
  if len(held):
    yield held


def _quietest(sound, sample_rate):
  """Where the last part of a section is quietest, a number of samples."""
  searched = min(
    round(_SEARCHED_SECONDS * sample_rate),
    round(_SEARCHED_SHARE * len(sound)),
  )
  first = len(sound) - searched
  stretch = max(1, round(_STRETCH_SECONDS * sample_rate))
  energy = np.cumsum(sound[first:].astype(np.float64) ** 2)
  starts = np.arange(0, searched - stretch, max(1, stretch // 4))
  if not len(starts):
    return len(sound)
  energies = energy[starts + stretch] - energy[starts]
  # The last of equals: sections are as long as they can be.
  best = len(starts) - 1 - int(np.argmin(energies[::-1]))
  return first + int(starts[best]) + stretch // 2


class LongRecogniser(Protocol):
  """What transcribes sounds of any length."""

  def __call__(
    self,
    sounds: Iterable[tuple[Key, Iterable[np.ndarray]]],
    sample_rate: int,
    total: int | None = None,
  ) -> Iterator[tuple[Key, Transcript]]:
    """Transcribes.

    Args:
      sounds: (key, blocks of int16 [samples]) of each, read as needed.
      sample_rate: Hz.
      total: number of sounds, for the bar.

    Yields:
      (key, `Transcript`) of each, in order.
    """
    ...


def transcribe(
  recogniser: SoundRecogniser,
  sounds: Iterable[tuple[Key, Iterable[np.ndarray]]],
  sample_rate: int,
  lengths: Lengths,
  nbest: int = 0,
  total: int | None = None,
) -> Iterator[tuple[Key, Transcript]]:
  """Runs a recogniser over sound of any length.

  Args:
    recogniser: function (sounds, sample_rate, total) like
      `launch.recognition.searching.Searcher`.
    sounds: (key, blocks of int16 [samples]) of each; read as needed.
    sample_rate: Hz.
    lengths: `Lengths`.
    nbest: int, texts of a sound to give.
    total: number of sounds, for the bar.

  Yields:
    (key, `Transcript`) in the order of the sounds, none for one without blocks.
  """
  # Sections of each sound: how many there are, None until that is known.
  counts, starts = {}, {}

  def sections():
    for key, blocks in sounds:
      counts[key], number, start = None, 0, 0
      for section in cut(blocks, sample_rate, lengths):
        starts[key, number] = start / sample_rate
        yield (key, number), section
        number, start = number + 1, start + len(section)
      counts[key] = number

  found = collections.defaultdict(dict)

  def finished():
    # The order of a dict is that in which the sounds came.
    while counts:
      key, count = next(iter(counts.items()))
      if count is None or len(found[key]) < count:
        return
      del counts[key]
      parts = found.pop(key)
      if count:
        shifts = [starts.pop((key, number)) for number in range(count)]
        ordered = [parts[number] for number in range(count)]
        yield key, join(ordered, shifts, nbest)

  results = recogniser(sections(), sample_rate, total)
  for (key, number), transcript in results:
    found[key][number] = transcript
    yield from finished()
  # Sounds of nothing at the end.
  yield from finished()


def join(
  transcripts: Sequence[Transcript], starts: Sequence[float], nbest: int = 0
) -> Transcript:
  """The transcript of consecutive sections.

  Args:
    transcripts: list of `Transcript`.
    starts: seconds at which each begins.
    nbest: int, texts to give.

  Returns:
    `Transcript`; its n best are those of the sections' sums of scores.
  """
  if len(transcripts) == 1:
    return transcripts[0]
  words = None
  if transcripts[0].words is not None:
    words = [
      {
        "word": word["word"],
        "start": round(word["start"] + start, 3),
        "end": round(word["end"] + start, 3),
      }
      for transcript, start in zip(transcripts, starts)
      for word in transcript.words or ()
    ]
  best = None
  if transcripts[0].nbest is not None:
    best = transcripts[0].nbest
    for transcript in transcripts[1:]:
      pairs = [_sum(a, b) for a in best for b in transcript.nbest or ()]
      best = sorted(pairs, key=lambda entry: -entry["score"])[:nbest]
  return Transcript(_spaced(t.text for t in transcripts), best, words)


def _sum(first, second):
  scores = {
    name: first[name] + second[name] for name in first if name != "text"
  }
  return {"text": _spaced([first["text"], second["text"]]), **scores}


def _spaced(texts):
  return " ".join(text for text in texts if text)

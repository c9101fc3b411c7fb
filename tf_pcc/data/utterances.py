"""An utterance, and a corpus of them: what every reader of corpora makes."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tf_pcc.data import audio
from tf_pcc.data.normalizers import Dropped
from tf_pcc.data.segments import WHOLE, Segment, check_length

# Seconds that an utterance may last: a header that states more is damaged, or
# the file is to be cut.
LONGEST = 3600.0


@dataclasses.dataclass(frozen=True)
class Utterance:
  """One transcribed recording.

  Attributes:
    id: Unique name in its corpus.
    path: Audio file; may be empty where the waveform comes another way.
    text: Transcript as a normalizer (`tf_pcc.data.normalizers`) leaves it.
    speaker: Name of the speaker, or "".
    seconds: Length if the corpus states it, or None.
    segment: The part of the file that it is, a `Segment`. Default: all of it.
  """

  id: str
  path: str
  text: str
  speaker: str = ""
  seconds: float | None = None
  segment: Segment = WHOLE

  def load(self, sample_rate: int = audio.SAMPLE_RATE) -> np.ndarray:
    """Reads its waveform.

    Args:
      sample_rate: Wanted rate in Hz. Default 16000.

    Returns:
      float32 array `[samples]`.

    Raises:
      ValueError: If `audio.load` raises it, or the sound has another length
        than the stated one; see `tf_pcc.data.segments`.
    """
    waveform = audio.load(
      self.path, sample_rate, segment=self.segment, longest=LONGEST
    )
    if self.seconds is not None:
      try:
        check_length(self.seconds, len(waveform) / sample_rate)
      except ValueError as error:
        raise ValueError(f"{error} Received: path={self.path}") from error
    return waveform

  def load_or_error(
    self, sample_rate: int = audio.SAMPLE_RATE
  ) -> np.ndarray | ValueError:
    """As `load`, but an error is returned and not raised.

    Args:
      sample_rate: Wanted rate in Hz. Default 16000.

    Returns:
      float32 array `[samples]`, or the ValueError of `load`.
    """
    try:
      return self.load(sample_rate)
    except ValueError as error:
      return error


@dataclasses.dataclass(frozen=True)
class Skip:
  """What a corpus lists and cannot be used.

  Attributes:
    id: As an utterance's.
    reason: Why, in words.
    lacks: "audio", "text" or, where it was left out by a flag, "choice".
  """

  id: str
  reason: str
  lacks: str


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Utterances with their origin.

  Attributes:
    name: Short name: the folder's, the file's, or the data set's.
    root: Where it was read from.
    utterances: Tuple of `Utterance`, sorted by id.
    skips: Tuple of `Skip`, sorted by id: every line of a corpus is an utterance
      or one of them.
    dropped: `normalizers.Dropped`: what the normalizer left out of the
      transcripts.
    reader: How the waveforms `start` to `stop` are read, if not from
      `Utterance.path`: a function (start, stop, sample_rate) -> iterable, or an
      object that is called so and has a method `part`, see there.
  """

  name: str
  root: str
  utterances: tuple[Utterance, ...]
  skips: tuple[Skip, ...] = ()
  dropped: Dropped = dataclasses.field(
    default_factory=Dropped, repr=False, compare=False
  )
  reader: Callable | None = dataclasses.field(default=None, repr=False)

  @property
  def missing_audio(self) -> tuple[str, ...]:
    """Tuple of ids that have a transcript and no audio that can be used."""
    return tuple(skip.id for skip in self.skips if skip.lacks == "audio")

  @property
  def missing_text(self) -> tuple[str, ...]:
    """Tuple of ids that have audio and no transcript, or an empty one."""
    return tuple(skip.id for skip in self.skips if skip.lacks == "text")

  def __len__(self):
    return len(self.utterances)

  def __iter__(self):
    return iter(self.utterances)

  def select(self, chosen: Iterable[int]) -> "Corpus":
    """The corpus of some of its utterances.

    Args:
      chosen: Their numbers, ascending.

    Returns:
      A `Corpus`, which reads the waveforms of these alone.
    """
    chosen = tuple(chosen)
    reader = self.reader and _Selected(self.reader, chosen)
    utterances = tuple(self.utterances[number] for number in chosen)
    return dataclasses.replace(self, utterances=utterances, reader=reader)

  def part(self, start: int, stop: int) -> "Corpus":
    """The corpus of `utterances[start:stop]`, for another process.

    Args:
      start: First utterance.
      stop: One after the last utterance.

    Returns:
      A `Corpus` without skips. It can be pickled, and is no larger than that
      part, if its reader has a method `part(start, stop)`.
    """
    return Corpus(
      self.name,
      self.root,
      self.utterances[start:stop],
      reader=self.reader and part_of(self.reader, start, stop),
    )

  def waveforms(
    self,
    start: int = 0,
    stop: int | None = None,
    sample_rate: int = audio.SAMPLE_RATE,
  ) -> Iterator[np.ndarray | ValueError]:
    """Yields the waveforms of `utterances[start:stop]`.

    Args:
      start: First utterance. Default 0.
      stop: One after the last utterance. Default: all.
      sample_rate: Wanted rate in Hz. Default 16000.

    Yields:
      float32 `[samples]`, or the ValueError that says why it cannot be read.
    """
    stop = len(self) if stop is None else stop
    if self.reader is not None:
      yield from self.reader(start, stop, sample_rate)
      return
    for utterance in self.utterances[start:stop]:
      yield utterance.load_or_error(sample_rate)


def part_of(reader: Callable, start: int, stop: int) -> Callable:
  """The reader of a part of what a reader reads.

  Args:
    reader: As of a `Corpus`.
    start: First utterance.
    stop: One after the last utterance.

  Returns:
    A reader of `stop - start` waveforms.
  """
  part = getattr(reader, "part", None)
  return part(start, stop) if part else _Shifted(reader, start)


@dataclasses.dataclass(frozen=True)
class _Shifted:
  """A reader that begins in the middle of another one."""

  reader: Callable
  first: int

  def __call__(self, start, stop, sample_rate):
    return self.reader(self.first + start, self.first + stop, sample_rate)

  def part(self, start, stop):
    return part_of(self.reader, self.first + start, self.first + stop)


@dataclasses.dataclass(frozen=True)
class _Selected:
  """The reader of some of the utterances of another one."""

  reader: Callable
  chosen: tuple[int, ...]

  def __call__(self, start, stop, sample_rate):
    numbers = self.chosen[start:stop]
    while numbers:
      # One call for each run of neighbours.
      first, size = numbers[0], 1
      while numbers[size : size + 1] == (first + size,):
        size += 1
      yield from self.reader(first, first + size, sample_rate)
      numbers = numbers[size:]

  def part(self, start, stop):
    chosen = self.chosen[start:stop]
    if not chosen:
      return _Selected(self.reader, ())
    first = chosen[0]
    return _Selected(
      part_of(self.reader, first, chosen[-1] + 1),
      tuple(number - first for number in chosen),
    )

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
      `Utterance.path`: a function (start, stop, sample_rate) -> iterable.
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
    chosen = list(chosen)
    reader, source = None, self.reader
    if source is not None:

      def read(start, stop, sample_rate):
        numbers = chosen[start:stop]
        while numbers:
          # One call for each run of neighbours.
          size = 1
          while numbers[size - 1 : size + 1] == [
            numbers[0] + size - 1,
            numbers[0] + size,
          ]:
            size += 1
          first = numbers[0]
          yield from source(first, first + size, sample_rate)
          numbers = numbers[size:]

      reader = read

    utterances = tuple(self.utterances[number] for number in chosen)
    return dataclasses.replace(self, utterances=utterances, reader=reader)

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

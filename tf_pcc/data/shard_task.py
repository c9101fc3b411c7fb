"""Making one shard: the unit of work, wherever it is done.

A thread, a process of this machine and a worker of Apache Beam call the same
`ShardTask.finish`. A shard is written whole or not at all, and its bytes are a
function of the task alone: a task that is repeated, or done twice at the same
time, does no harm.
"""

import dataclasses
import hashlib
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tf_pcc import files
from tf_pcc.data import partial
from tf_pcc.data.examples import example, samples_of
from tf_pcc.data.index import COLUMNS, sealed
from tf_pcc.data.shards import AFTER, BEFORE

# What a runner tells of its progress: how many utterances are done, and those
# among them that were skipped, as the index lists them.
Report = Callable[[int, list[dict[str, str]]], None]


@dataclasses.dataclass(frozen=True)
class Rows:
  """Utterances with their waveforms, of some of what a corpus has.

  Attributes:
    pairs: Tuple of (`Utterance`, waveform or None: read from its path).
    sample_rate: Wanted rate in Hz.
    sources: Files that it reads, and that were there. Default: none.
  """

  pairs: tuple[tuple[Any, Any], ...]
  sample_rate: int
  sources: tuple[str, ...] = ()

  def __call__(self) -> Iterable[tuple[Any, Any]]:
    """Yields (`Utterance`, waveform or ValueError)."""
    for utterance, waveform in self.pairs:
      if waveform is None:
        waveform = utterance.load_or_error(self.sample_rate)
      yield utterance, waveform


@dataclasses.dataclass(frozen=True)
class CorpusRows:
  """As `Rows`, of a corpus that has a reader; pickled it holds its part alone.

  Attributes:
    corpus: A `Corpus`.
    start: First utterance.
    stop: One after the last utterance.
    sample_rate: Wanted rate in Hz.
    sources: As of `Rows`.
  """

  corpus: Any
  start: int
  stop: int
  sample_rate: int
  sources: tuple[str, ...] = ()

  def __call__(self) -> Iterable[tuple[Any, Any]]:
    """Yields (`Utterance`, waveform or ValueError)."""
    place = self.start, self.stop
    return zip(
      self.corpus.utterances[slice(*place)],
      self.corpus.waveforms(*place, self.sample_rate),
    )

  def __reduce__(self):
    part = self.corpus.part(self.start, self.stop)
    count = self.stop - self.start
    return CorpusRows, (part, 0, count, self.sample_rate, self.sources)


@dataclasses.dataclass(frozen=True)
class ShardTask:
  """What is needed to make one shard.

  Attributes:
    path: Of the shard, in a partial directory (`tf_pcc.data.partial`).
    number: Of the shard.
    count: How many utterances it is made of.
    rows: Function that returns an iterable of pairs (`Utterance`, waveform). In
      place of a waveform it may give a ValueError: the utterance is skipped.
    encoding: One of `ENCODINGS`.
    sample_rate: Rate of the records in Hz.
  """

  path: str
  number: int
  count: int
  rows: Callable[[], Iterable[Any]]
  encoding: str
  sample_rate: int

  @property
  def sources(self) -> tuple[str, ...]:
    """Files that were there: a machine without them must not skip them."""
    return getattr(self.rows, "sources", ())

  @property
  def part(self) -> str:
    """The file that says that the shard is finished, and what is in it."""
    return self.path + ".json"

  def is_finished(self) -> bool:
    """Whether the shard is there, of this call or of one that was stopped."""
    from tensorflow.io import gfile

    return gfile.exists(self.part)

  def skipped(self) -> list[dict[str, str]]:
    """The skips of a finished shard, each with its id and reason."""
    return partial.read_part(self.part)["skipped"]

  def finish(self, report: Report = lambda count, skipped: None) -> None:
    """Writes the shard and, last, its part of the index.

    Args:
      report: Called after every utterance. It may raise, to stop: then the
        shard is not there.
    """
    import tensorflow as tf

    rows, skipped, content = [], [], hashlib.sha256()
    offset = 0
    with (
      files.replacing(self.path) as temporary,
      tf.io.TFRecordWriter(temporary) as writer,
    ):
      for utterance, waveform in self.rows():
        try:
          samples = samples_of(waveform)
        except ValueError as error:
          skipped.append({"id": utterance.id, "reason": str(error)})
          report(1, skipped[-1:])
          continue
        report(1, [])
        data = example(utterance, samples, self.encoding, self.sample_rate)
        writer.write(data)
        content.update(data)
        row = {
          "id": utterance.id,
          "text": utterance.text,
          "speaker": utterance.speaker,
          "samples": len(samples),
          "shard": self.number,
          "offset": offset + BEFORE,
          "size": len(data),
        }
        rows.append([row[name] for name in COLUMNS])
        offset += BEFORE + len(data) + AFTER
    found = {"rows": rows, "skipped": skipped, "sha256": content.hexdigest()}
    partial.write_json(self.part, sealed(found))


def unfinished(tasks: Sequence[ShardTask]) -> list[ShardTask]:
  """Those whose shards are not there yet.

  They are found by one listing: in a bucket each question is a request.

  Args:
    tasks: Of shards in one folder.

  Returns:
    List of them, in their order.
  """
  from tensorflow.io import gfile

  if not tasks:
    return []
  there = set(gfile.listdir(os.path.dirname(tasks[0].path)))
  return [task for task in tasks if os.path.basename(task.part) not in there]


def pickled(task: ShardTask) -> bytes:
  """A task for another process.

  Args:
    task: A `ShardTask`.

  Returns:
    What `pickle.loads` takes.

  Raises:
    ValueError: If what it reads from is in this process only.
  """
  try:
    return pickle.dumps(task)
  # Which of them depends on what it is.
  except (pickle.PicklingError, AttributeError, TypeError) as error:
    raise ValueError(
      "the corpus must be one that other processes can read: prepare it with "
      f"--runner=local and threads. Received: {error}"
    ) from error

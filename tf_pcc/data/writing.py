"""Writes utterances to TFRecord shards with an index.

A records directory holds `index.json` and `00000-of-00008.tfrecord` and so on.
Each record is a tf.train.Example with `audio` (16-bit little-endian mono PCM or
a FLAC file, see `encoding`), `encoding`, `text`, `id`, `speaker`, `seconds` and
`samples`. The index says where every record starts, so that nothing is scanned.
"""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from absl import logging

from tf_pcc import bars, locks
from tf_pcc.data import audio, running
from tf_pcc.data import index as index_
from tf_pcc.data import partial as partial_
from tf_pcc.data.index import COLUMNS, ENCODINGS, FORMAT, digest, shard_name
from tf_pcc.data.shard_task import CorpusRows, Rows, ShardTask, unfinished
from tf_pcc.data.utterances import Corpus


def write_records(
  utterances: Iterable[Any],
  output_dir: str | os.PathLike,
  shards: int = 1,
  encoding: str = "pcm16",
  sample_rate: int = audio.SAMPLE_RATE,
  max_skipped_share: float = 0.05,
  workers: int | None = None,
  progress: bool = True,
  normalizer: str = "",
  runner: running.Runner | None = None,
) -> dict[str, Any]:
  """Writes utterances to a records directory, whole or not at all.

  An interrupted call leaves `output_dir + ".partial"`; the same call then
  continues after the shards that were finished. Audio that cannot be decoded
  is skipped, logged, and listed in the index.

  Args:
    utterances: A `tf_pcc.data.utterances.Corpus`, or an iterable of `Utterance`
      (read from their path) or of `(Utterance, waveform)` pairs, where the
      waveform is int16 or float32 `[samples]` at `sample_rate`.
    output_dir: Directory to make, local or anything tf.io.gfile writes.
    shards: Number of files; each gets a contiguous part. Default 1.
    encoding: "pcm16" (default) or "flac" (about half the size; reading it
      needs tensorflow-io or soundfile).
    sample_rate: Rate of the records in Hz. Default 16000.
    max_skipped_share: Error if a larger share was skipped. Default 0.05.
    workers: Threads that decode and write. Default: the number of CPUs.
    progress: Whether to show a progress bar. Default True.
    normalizer: What all transcripts have gone through, for who reads the index:
      a `tf_pcc.data.normalizers.signature`. Default: none.
    runner: Who makes the shards: one of `tf_pcc.data.running`, or a
      `tf_pcc.data.beam.Beam`. The bytes are the same. Default: `workers`
      threads.

  Returns:
    The index, a dict.

  Raises:
    ValueError: If there is no utterance, an id occurs twice, `output_dir`
      exists already and is not of the same input, or cannot be written, or too
      many utterances were skipped.
  """
  items = list(utterances)
  pairs = [item if isinstance(item, tuple) else (item, None) for item in items]
  names = [utterance for utterance, _ in pairs]
  _check_unique(utterance.id for utterance in names)
  if not 1 <= shards <= max(len(pairs), 1):
    raise ValueError(
      "`shards` must be from 1 to the number of utterances, "
      f"{len(pairs)}. Received: shards={shards}"
    )

  prints = [_fingerprint(utterance, waveform) for utterance, waveform in pairs]
  # A reader has waveforms of its own; other corpora have files alone.
  whole = utterances if isinstance(utterances, Corpus) else None

  def source(start, stop):
    seen = tuple(
      utterance.path
      for (utterance, waveform), found in zip(
        pairs[start:stop], prints[start:stop]
      )
      if waveform is None and found is not None
    )
    if whole is not None and whole.reader is not None:
      return CorpusRows(whole, start, stop, sample_rate, seen)
    return Rows(tuple(pairs[start:stop]), sample_rate, seen)

  bounds = np.linspace(0, len(pairs), shards + 1).astype(int).tolist()
  return write_shards(
    [
      (stop - start, source(start, stop))
      for start, stop in zip(bounds[:-1], bounds[1:])
    ],
    output_dir,
    key=[
      [*dataclasses.astuple(utterance), found]
      for (utterance, _), found in zip(pairs, prints)
    ],
    encoding=encoding,
    sample_rate=sample_rate,
    max_skipped_share=max_skipped_share,
    workers=workers,
    progress=progress,
    normalizer=normalizer,
    runner=runner,
  )


def _fingerprint(utterance, waveform):
  """What changes with the sound; of a file, its size and time."""
  if waveform is None:
    try:
      found = os.stat(utterance.path)
    except (OSError, ValueError):
      return None
    return [found.st_size, found.st_mtime_ns]
  return hashlib.sha256(np.ascontiguousarray(waveform).data).hexdigest()


def write_shards(
  sources: Sequence[tuple[int, Callable[[], Iterable[Any]]]],
  output_dir: str | os.PathLike,
  key: Any,
  encoding: str = "pcm16",
  sample_rate: int = audio.SAMPLE_RATE,
  max_skipped_share: float = 0.05,
  workers: int | None = None,
  progress: bool = True,
  normalizer: str = "",
  runner: running.Runner | None = None,
) -> dict[str, Any]:
  """Writes one shard for each source; `write_records` without the reading.

  Args:
    sources: Sequence of `(count, function)`; the function, called where the
      shard is made, returns an iterable of `count` pairs (`Utterance`,
      waveform). In place of a waveform it may give a ValueError: the utterance
      is skipped.
    output_dir: As for `write_records`.
    key: JSON-serialisable description of the content: a partial directory is
      continued if it was begun with the same key.
    encoding: As for `write_records`.
    sample_rate: As for `write_records`.
    max_skipped_share: As for `write_records`.
    workers: As for `write_records`.
    progress: As for `write_records`.
    normalizer: As for `write_records`.
    runner: As for `write_records`.

  Returns:
    The index, a dict.

  Raises:
    ValueError: If `write_records` would raise it.
  """

  if encoding not in ENCODINGS:
    raise ValueError(
      f"`encoding` must be one of {ENCODINGS}. Received: encoding={encoding!r}"
    )
  total = sum(count for count, _ in sources)
  if not total:
    raise ValueError("`sources` must hold at least one utterance.")
  output_dir = os.fspath(output_dir).rstrip("/")
  plan = digest([FORMAT, key, len(sources), encoding, sample_rate])
  with locks.owned(output_dir, "output_dir") as require_mine:
    return _write_alone(
      require_mine,
      sources,
      output_dir,
      plan,
      total,
      encoding,
      sample_rate,
      max_skipped_share,
      runner or running.threads(workers),
      progress,
      normalizer,
    )


def _write_alone(
  require_mine,
  sources,
  output_dir,
  plan,
  total,
  encoding,
  sample_rate,
  max_skipped_share,
  runner,
  progress,
  normalizer,
):
  """`write_shards` while no other process writes to the same place."""
  from tensorflow import errors
  from tensorflow.io import gfile

  partial = output_dir + ".partial"
  try:
    partial_.resume(partial, output_dir)
    if gfile.exists(output_dir):
      index = partial_.index_of(output_dir, plan)
      if index is None:
        raise ValueError(
          "`output_dir` must not exist yet, or hold the records of the same "
          "input: records are never overwritten. "
          f"Received: output_dir={output_dir}"
        )
      logging.info("%s is finished: nothing was written", output_dir)
      return index
    if index := partial_.index_of(partial, plan):
      partial_.publish(partial, output_dir)
      return index
    partial_.begin(partial, plan)
  except errors.OpError as error:
    raise ValueError(
      f"`output_dir` must be in a folder to write to: {error.message}. "
      f"Received: output_dir={output_dir}"
    ) from error
  tasks = [
    ShardTask(
      f"{partial}/{shard_name(number, len(sources))}",
      number,
      count,
      rows,
      encoding,
      sample_rate,
    )
    for number, (count, rows) in enumerate(sources)
  ]
  _run(runner, tasks, os.path.basename(output_dir), progress)
  parts = [partial_.read_part(task.part) for task in tasks]
  index = _index(parts, encoding, sample_rate)
  if index["utterances"] + len(index["skipped"]) != total:
    raise ValueError(
      f"`sources` must give the {total} utterances they announce. "
      f"Received: {index['utterances'] + len(index['skipped'])}"
    )
  share = len(index["skipped"]) / total
  if share > max_skipped_share or not index["utterances"]:
    shown = "; ".join(f"{s['id']}: {s['reason']}" for s in index["skipped"][:5])
    gfile.rmtree(partial)
    raise ValueError(
      f"{len(index['skipped'])} of {total} utterances cannot be read, more "
      f"than `max_skipped_share` allows ({shown}). "
      f"Received: max_skipped_share={max_skipped_share}"
    )
  if normalizer:
    index["normalizer"] = normalizer
  require_mine()
  index_.write(partial, {**index, "plan": plan})
  partial_.publish(partial, output_dir)
  return index


def _run(runner, tasks, name, progress):
  """Makes the shards that are not there, with a bar of all utterances."""
  waiting = unfinished(tasks)
  total, left = (sum(task.count for task in each) for each in (tasks, waiting))
  bar = bars.make(
    total=total,
    initial=total - left,
    unit=" utterances",
    disable=not progress,
  )
  bar.set_description(name, refresh=False)

  def report(count, skipped):
    bar.update(count)
    for skip in skipped:
      logging.warning("skipped %s: %s", skip["id"], skip["reason"])

  try:
    if waiting:
      runner(waiting, report)
  finally:
    bar.close()


def _check_unique(ids):
  counts = collections.Counter(ids)
  repeated = [name for name, count in counts.items() if count > 1]
  if repeated:
    raise ValueError(
      f"Utterance ids must be unique. Received: repeated={repeated[:5]}"
    )


def _index(parts, encoding, sample_rate):
  rows = [row for part in parts for row in part["rows"]]
  columns = dict(zip(COLUMNS, map(list, zip(*rows)))) if rows else {}
  _check_unique(columns.get("id", ()))
  samples = sum(columns.get("samples", ()))
  return {
    "format": FORMAT,
    "encoding": encoding,
    "sample_rate": sample_rate,
    "utterances": len(rows),
    "samples": samples,
    "seconds": round(samples / sample_rate, 3),
    "sha256": digest([part["sha256"] for part in parts]),
    "shards": [part["sha256"] for part in parts],
    "skipped": [skip for part in parts for skip in part["skipped"]],
    "records": columns,
  }

"""Writes utterances to TFRecord shards with an index.

A records directory holds `index.json` and `00000-of-00008.tfrecord` and so on.
Each record is a tf.train.Example with `audio` (16-bit little-endian mono PCM or
a FLAC file, see `encoding`), `encoding`, `text`, `id`, `speaker`, `seconds` and
`samples`. The index says where every record starts, so that nothing is scanned.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from absl import logging

from tf_pcc import bars, files, locks
from tf_pcc.data import audio
from tf_pcc.data import index as index_
from tf_pcc.data import partial as partial_
from tf_pcc.data.examples import example, samples_of
from tf_pcc.data.index import (
  COLUMNS,
  ENCODINGS,
  FORMAT,
  digest,
  sealed,
  shard_name,
)
from tf_pcc.data.shards import AFTER, BEFORE


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

  Returns:
    The index, a dict.

  Raises:
    ValueError: If there is no utterance, an id occurs twice, `output_dir`
      exists already and is not of the same input, or cannot be written, or too
      many utterances were skipped.
  """
  read = getattr(utterances, "waveforms", None)
  items = list(utterances)
  pairs = [item if isinstance(item, tuple) else (item, None) for item in items]
  names = [utterance for utterance, _ in pairs]
  _check_unique(utterance.id for utterance in names)
  if not 1 <= shards <= max(len(pairs), 1):
    raise ValueError(
      "`shards` must be from 1 to the number of utterances, "
      f"{len(pairs)}. Received: shards={shards}"
    )

  def source(start, stop):
    if read is not None:
      yield from zip(names[start:stop], read(start, stop, sample_rate))
      return
    for utterance, waveform in pairs[start:stop]:
      if waveform is None:
        waveform = utterance.load_or_error(sample_rate)
      yield utterance, waveform

  bounds = np.linspace(0, len(pairs), shards + 1).astype(int)
  return write_shards(
    [
      (stop - start, lambda start=start, stop=stop: source(start, stop))
      for start, stop in zip(bounds[:-1], bounds[1:])
    ],
    output_dir,
    key=[
      [*dataclasses.astuple(utterance), _fingerprint(utterance, waveform)]
      for utterance, waveform in pairs
    ],
    encoding=encoding,
    sample_rate=sample_rate,
    max_skipped_share=max_skipped_share,
    workers=workers,
    progress=progress,
    normalizer=normalizer,
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
) -> dict[str, Any]:
  """Writes one shard for each source; `write_records` without the reading.

  Args:
    sources: Sequence of `(count, function)`; the function, called in a worker
      thread, returns an iterable of `count` pairs (`Utterance`, waveform). In
      place of a waveform it may give a ValueError: the utterance is skipped.
    output_dir: As for `write_records`.
    key: JSON-serialisable description of the content: a partial directory is
      continued if it was begun with the same key.
    encoding: As for `write_records`.
    sample_rate: As for `write_records`.
    max_skipped_share: As for `write_records`.
    workers: As for `write_records`.
    progress: As for `write_records`.
    normalizer: As for `write_records`.

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
  with locks.owned(output_dir, "output_dir"):
    return _write_alone(
      sources,
      output_dir,
      plan,
      total,
      encoding,
      sample_rate,
      max_skipped_share,
      workers,
      progress,
      normalizer,
    )


def _write_alone(
  sources,
  output_dir,
  plan,
  total,
  encoding,
  sample_rate,
  max_skipped_share,
  workers,
  progress,
  normalizer,
):
  """`write_shards` while no other process writes to the same place."""
  from tensorflow import errors
  from tensorflow.io import gfile

  partial = output_dir + ".partial"
  try:
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
  bar = bars.make(total=total, unit=" utterances", disable=not progress)
  bar.set_description(os.path.basename(output_dir), refresh=False)
  workers = workers or os.cpu_count()

  stopped = threading.Event()

  def advance(count):
    if stopped.is_set():
      raise InterruptedError("another shard failed, or the user stopped")
    bar.update(count)

  def write(number):
    path = f"{partial}/{shard_name(number, len(sources))}"
    if gfile.exists(path + ".json"):
      bar.update(sources[number][0])
      return partial_.read_part(path + ".json")
    rows = sources[number][1]()
    part = _write_shard(path, rows, encoding, sample_rate, advance)
    for row in part["rows"]:
      row.insert(COLUMNS.index("shard"), number)
    partial_.write_json(path + ".json", sealed(part))
    return part

  pool = concurrent.futures.ThreadPoolExecutor(workers)
  try:
    parts = list(pool.map(write, range(len(sources))))
  except BaseException:
    stopped.set()
    raise
  finally:
    pool.shutdown(cancel_futures=True)
    bar.close()
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
  index_.write(partial, {**index, "plan": plan})
  partial_.publish(partial, output_dir)
  return index


def _write_shard(path, source, encoding, sample_rate, advance):
  """Writes one TFRecord file; returns its part of the index."""
  import tensorflow as tf

  rows, skipped, content = [], [], hashlib.sha256()
  offset = 0
  with (
    files.replacing(path) as temporary,
    tf.io.TFRecordWriter(temporary) as writer,
  ):
    for utterance, waveform in source:
      advance(1)
      try:
        samples = samples_of(waveform)
      except ValueError as error:
        logging.warning("skipped %s: %s", utterance.id, error)
        skipped.append({"id": utterance.id, "reason": str(error)})
        continue
      data = example(utterance, samples, encoding, sample_rate)
      writer.write(data)
      content.update(data)
      name, text, speaker = utterance.id, utterance.text, utterance.speaker
      where = (offset + BEFORE, len(data))
      rows.append([name, text, speaker, len(samples), *where])
      offset += BEFORE + len(data) + AFTER
  return {"rows": rows, "skipped": skipped, "sha256": content.hexdigest()}


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

"""Turns a corpus into record shards, ready for training.

  python -m launch.prepare --corpus=LibriSpeech/train-clean-100 \\
    --output=data/train --shards=64

The corpus is a folder, a manifest, or a TensorFlow Datasets name (see
`tf_pcc.data.corpora`). Every utterance of it is in the records or, with its
reason, in data/train/left_out.tsv. After an interruption the same
command continues. Finished records it leaves as they are; --verify reads them
again. The exit code is 0 only if they are whole.

  python -m launch.prepare --corpus=LibriSpeech/train-clean-100 \\
    --output=data/train --canaries=planned/canaries.json

puts the canaries of a plan (of launch.make_canaries, or of another run) between
the utterances, evenly spread: training on these records repeats a canary of r
repetitions r times a pass. The plan is copied to data/train/canaries.json.

  python -m launch.prepare --corpus=/mnt/LibriSpeech --output=/mnt/train \\
    --shards=512 --runner=beam -- --runner=FlinkRunner --flink_master=host:8081

makes the shards with Apache Beam, to the same bytes; without flags of Beam's
own, by processes of this machine. launch/data.md has more.
"""

import dataclasses
import math
import os
import sys
from collections.abc import Sequence, Set
from typing import Any

from absl import flags, logging

from launch import cli
from launch.canaries import in_corpus
from launch.canaries import of_run as canaries_
from tf_pcc import files
from tf_pcc.data import (
  audio,
  beam,
  corpora,
  inspection,
  manifests,
  normalizers,
  records,
  running,
  tables,
)
from tf_pcc.data.lines import read_lines
from tf_pcc.data.utterances import Corpus, Skip

_CORPUS = flags.DEFINE_string(
  "corpus",
  None,
  "Folder, manifest (.tsv, .csv, .json, .jsonl), or "
  "tfds:librispeech/CONFIG/SPLIT.",
)
_OUTPUT = flags.DEFINE_string("output", None, "Directory to make.")
_SHARDS = flags.DEFINE_integer("shards", 1, "Number of files.", lower_bound=1)
_ENCODING = flags.DEFINE_enum(
  "encoding", "pcm16", records.ENCODINGS, "How the audio is stored."
)
_RATE = flags.DEFINE_integer(
  "sample_rate", audio.SAMPLE_RATE, "Rate in Hz.", lower_bound=1
)
_MISSING = cli.max_missing_share_flag()
_SKIPPED = flags.DEFINE_float(
  "max_skipped_share",
  0.05,
  "Stop if a larger share of the audio cannot be read.",
  lower_bound=0,
  upper_bound=1,
)
_MAX_SECONDS = flags.DEFINE_float(
  "max_seconds", None, "Leave out longer utterances.", lower_bound=0
)
_FIRST = flags.DEFINE_integer(
  "first", None, "Stop after this many utterances.", lower_bound=1
)
_NORMALIZER = cli.normalizer_flag()
_OUTSIDE = cli.allow_outside_flag()
_EMPTY = cli.keep_empty_flag()
_EXCLUDE = flags.DEFINE_string(
  "exclude", None, "File of ids to leave out, one a line."
)
_RUNNER = flags.DEFINE_enum(
  "runner",
  "local",
  ("local", "beam"),
  "Where shards are made: on this machine, or by Apache Beam, whose own flags "
  "follow after --.",
)
_WORKERS = flags.DEFINE_integer(
  "workers",
  None,
  "Threads; with --processes, or --runner=beam and none of its flags, "
  "processes of this machine. Default: the number of CPUs.",
  lower_bound=1,
)
_PROCESSES = flags.DEFINE_bool(
  "processes",
  False,
  "Whether the workers are processes: faster beyond four CPUs.",
)
_VERIFY = cli.verify_flag()
_CANARIES = flags.DEFINE_string(
  "canaries", None, "A canaries.json: what to put between the utterances."
)


def choose(
  corpus: Corpus,
  exclude: Set[str] = frozenset(),
  max_seconds: float | None = None,
  first: int | None = None,
) -> Corpus:
  """The utterances of a corpus that the flags leave.

  Headers of files are read, and no sound, where they state its length.

  Args:
    corpus: `utterances.Corpus`.
    exclude: set of ids to leave out.
    max_seconds: float, longest length, or None. What cannot be read stays in:
      writing the records says why.
    first: int, how many of the rest to take, or None for all.

  Returns:
    `utterances.Corpus`; the others are skips of it.

  Raises:
    ValueError: If none is left.
  """
  unknown = exclude - {utterance.id for utterance in corpus}
  if unknown:
    logging.warning(
      "%d ids of --exclude are not among the utterances: %s",
      len(unknown),
      ", ".join(sorted(unknown)[:5]),
    )
  chosen, skips = [], []
  lengths = _lengths(corpus) if max_seconds else [None] * len(corpus)
  most = max_seconds or math.inf
  for number, (utterance, seconds) in enumerate(zip(corpus, lengths)):
    if utterance.id in exclude:
      reason = "named by --exclude"
    elif seconds and seconds > most:
      reason = f"{seconds:.2f} s, longer than --max_seconds"
    elif first and len(chosen) == first:
      reason = "after the utterances of --first"
    else:
      chosen.append(number)
      continue
    skips.append(Skip(utterance.id, reason, "choice"))
  if not chosen:
    raise ValueError(
      "--exclude and --max_seconds must leave an utterance. Received: "
      f"max_seconds={max_seconds}, {len(exclude)} ids of --exclude"
    )
  if not skips:
    return corpus
  return dataclasses.replace(
    corpus.select(chosen), skips=(*corpus.skips, *skips)
  )


def _lengths(corpus):
  """Yields the length of each utterance in seconds, or None."""
  if corpus.reader is not None:
    for waveform in corpus.waveforms():
      readable = not isinstance(waveform, ValueError)
      yield len(waveform) / audio.SAMPLE_RATE if readable else None
    return
  for utterance in corpus:
    part = utterance.segment
    if part.seconds is not None:
      yield part.seconds
      continue
    stated = audio.header(utterance.path)
    if stated is not None:
      yield stated[1] - part.start
      continue
    waveform = utterance.load_or_error()
    readable = not isinstance(waveform, ValueError)
    yield len(waveform) / audio.SAMPLE_RATE if readable else None


def write_left_out(
  corpus: Corpus, index: dict[str, Any], directory: str | os.PathLike
) -> str:
  """Writes what is not in the records, and why, beside them.

  Args:
    corpus: `utterances.Corpus`.
    index: dict, of the records.
    directory: of the records.

  Returns:
    str, the path of a table with the columns id and reason.
  """
  rows = [(skip.id, skip.reason) for skip in corpus.skips]
  rows += [(skip["id"], skip["reason"]) for skip in index["skipped"]]
  path = files.join(directory, "left_out.tsv")
  files.write_text(path, tables.write([("id", "reason"), *rows]))
  return path


def _runner(beam_flags):
  """Who makes the shards, by the flags."""
  if _RUNNER.value != "beam":
    cli.no_arguments(beam_flags)
    kind = running.processes if _PROCESSES.value else running.threads
    return kind(_WORKERS.value)
  if _PROCESSES.value:
    raise ValueError(
      "--processes is for --runner=local: the workers of Beam are processes. "
      "Received: runner=beam, processes=True"
    )
  if beam_flags and not beam_flags[0].startswith("-"):
    cli.no_arguments(beam_flags)
  result = beam.Beam(beam_flags, _WORKERS.value)
  if beam_flags:
    result.check()
  return result


def main(arguments: Sequence[str]) -> None:
  canaries = None
  try:
    runner = _runner(arguments)
    if _CANARIES.value:
      canaries = canaries_.load_plan(_CANARIES.value, flag="canaries")
    normalizer = _NORMALIZER.value or "upper"
    if canaries and normalizer != "upper":
      raise ValueError(
        "--canaries are in upper case: they need --normalizer=upper. "
        f"Received: normalizer={normalizer}"
      )
    reading = manifests.Reading(
      normalizers.get(normalizer), _OUTSIDE.value, _EMPTY.value
    )
    corpus = corpora.read_corpus(cli.given(_CORPUS), _MISSING.value, reading)
    exclude = set()
    if _EXCLUDE.value:
      exclude = {line.strip() for line in read_lines(_EXCLUDE.value)} - {""}
    corpus = choose(corpus, exclude, _MAX_SECONDS.value, _FIRST.value)
    chosen = corpus
    if canaries:
      chosen = in_corpus.insert(chosen, canaries)
    index = records.write_records(
      chosen,
      cli.given(_OUTPUT),
      shards=_SHARDS.value,
      encoding=_ENCODING.value,
      sample_rate=_RATE.value,
      max_skipped_share=_SKIPPED.value,
      normalizer=normalizers.signature(normalizer),
      runner=runner,
    )
    if canaries:
      canaries_.save(cli.given(_OUTPUT), canaries)
    left_out = write_left_out(corpus, index, cli.given(_OUTPUT))
    if _VERIFY.value:
      records.Records(cli.given(_OUTPUT)).verify()
  except KeyboardInterrupt:
    print(
      "launch.prepare: stopped; the same command goes on from here",
      file=sys.stderr,
    )
    sys.exit(130)
  print(
    f"{index['utterances']} utterances, {index['seconds'] / 3600:.2f} h, "
    f"{len(index['shards'])} shards: {cli.given(_OUTPUT)}"
  )
  chosen_out = sum(skip.lacks == "choice" for skip in corpus.skips)
  print(
    f"left out, see {left_out}: "
    f"{len(corpus.missing_audio)} transcripts without audio, "
    f"{len(corpus.missing_text)} recordings without a transcript, "
    f"{len(index['skipped'])} unreadable recordings"
    + (f", {chosen_out} by choice" if chosen_out else "")
  )
  opened = records.Records(cli.given(_OUTPUT))
  seconds = opened.samples / opened.sample_rate
  found = inspection.describe(opened.texts, opened.speakers, seconds)
  print(inspection.summary(found))
  print(
    f"look closer: python -m launch.inspect {cli.given(_OUTPUT)}"
    + (f" --normalizer={normalizer}" if normalizer != "upper" else "")
  )
  if corpus.dropped.counts:
    print(
      f"the normalizer {normalizer} left out or changed: {corpus.dropped}; "
      "for instance"
    )
    for key, before, after in corpus.dropped.examples:
      print(f"  {key}: {before} -> {after}")
  if advice := corpus.dropped.advice(normalizer):
    print(advice)
  if canaries:
    plan = canaries.plan
    print(
      f"among them {len(plan.canaries)} canaries, {plan.repetitions.sum()} "
      f"times in all; {len(plan.holdout)} held out. Train, then launch.audit "
      f"--plan={files.join(cli.given(_OUTPUT), 'canaries.json')}"
    )


if __name__ == "__main__":
  cli.run("launch.prepare", main, required=["corpus", "output"])

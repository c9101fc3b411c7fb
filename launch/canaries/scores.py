"""Audited checkpoints: a run's own, or any function from sound to text."""

import os
import time
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from launch.canaries.of_run import Canaries
from launch.recognition import driver, error_rates
from launch.runs import checkpoints, datasets, opening, saved_config
from tf_pcc import audit, bars
from tf_pcc.data import records, text
from tf_pcc.data.text import Tokenizer


def audit_run(
  directory: str | os.PathLike,
  canaries: Canaries,
  which: str = "last",
  batch_size: int = 64,
  step: int | None = None,
  test_utterances: int = 0,
) -> tuple[list[audit.AuditedCheckpoint], list[str], float]:
  """Audits checkpoints of a training run.

  Args:
    directory: the run's directory.
    canaries: `launch.canaries.of_run.Canaries`.
    which: "all" checkpoints or the "last".
    batch_size: int.
    step: int, the one checkpoint to audit instead.
    test_utterances: int, the first so many of the test set give the word error
      rates of checkpoints before the last one; 0: all.

  Returns:
    list of `tf_pcc.audit.AuditedCheckpoint`, notes for the report, and the
    seconds that scoring the canaries took.

  Raises:
    ValueError: If there is no such checkpoint, a loss is NaN, or a canary has
      text that the run's tokenizer does not know.
  """
  model, tokenizer, config, _ = opening.load_model(directory, step=step)
  require_vocabulary(tokenizer, canaries)
  recogniser = driver.Driver(model, tokenizer, batch_size)
  test = datasets.open_splits(config).get("test")
  early = None if test is None else _head(test, test_utterances)
  paths = checkpoints.checkpoint_paths(directory)
  steps = [s for s, _ in paths]
  if step is not None:
    paths = [(step, dict(paths)[step])]
  elif which == "last":
    paths = paths[-1:]
  method = config.clipping.method
  entries, seconds = [], 0.0
  for at, path in bars.make(paths, desc="audit", unit="checkpoint"):
    checkpoints.restore_weights(model, path)
    start = time.monotonic()
    losses, transcripts = recogniser.score(canaries.records)
    seconds += time.monotonic() - start
    lost = int(np.isnan(losses).sum())
    if lost:
      raise ValueError(
        f"{path}: losses must not be NaN, which has no rank: training had "
        "diverged. Audit an earlier checkpoint with --step, one of "
        f"{[s for s in steps if s < at]}. Received: NaN for {lost} of "
        f"{len(losses)} canaries at step={at}"
      )
    wer = words = None
    if test is not None and early is not None:
      used = test if at == paths[-1][0] else early
      found = error_rates.score(used.texts, recogniser.transcribe(used))
      wer, words = found.wer, found.words
    try:
      entries.append(
        _entry(
          canaries,
          [transcripts[row] for row in canaries.rows(canaries.plan.all)],
          losses[canaries.rows(canaries.plan.all)],
          run=f"{method} seed {config.seed}",
          method=method,
          seed=config.seed,
          step=at,
          wer=wer,
          words=words,
        )
      )
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from error
  parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
  notes = [
    f"Run {directory}: {config.model.name} of {parameters:,} parameters, "
    f"clipping {method}, seed {config.seed}, {config.steps} steps of "
    f"{config.batch} utterances. Canaries are ranked by loss in nats per "
    "token."
  ]
  unfit = [
    row
    for row in canaries.rows(canaries.plan.canaries)
    if not model.fits(
      tokenizer.encode(canaries.records.texts[row]),
      int(canaries.records.samples[row]),
    )
  ]
  if unfit:
    # Of a plan made without this network.
    notes.append(
      f"{len(unfit)} inserted canaries have more labels than the network has "
      "frames: training left them out, and here they count as inserted (a "
      "CTC loss of theirs is infinite, which ranks last). Plan "
      "with launch.make_canaries --fit, or at a lower speed."
    )
    logging.warning(notes[-1])
  if test is not None:
    notes.append(
      f"Word error rates are those of {len(test)} test utterances, greedy "
      "decoding."
    )
    if early is not None and len(early) < len(test) and len(entries) > 1:
      notes.append(
        f"Before the last step they are those of the first {len(early)} of "
        "these utterances."
      )
  return entries, notes, seconds


def _head(test, count):
  """The first utterances of a set, read once; all of it for 0."""
  if not 0 < count < len(test):
    return test
  return records.MemoryRecords(
    [test.read(row) for row in range(count)],
    test.texts[:count],
    sample_rate=test.sample_rate,
  )


def require_vocabulary(tokenizer: Tokenizer, canaries: Canaries) -> None:
  """Refuses canaries that a tokenizer has no labels for.

  Args:
    tokenizer: `tf_pcc.data.text.Tokenizer`.
    canaries: `launch.canaries.of_run.Canaries`.

  Raises:
    ValueError: If there are such; their words are named.
  """
  lines = [text.normalize(canary.text) for canary in canaries.plan.all]
  encoded = tokenizer.encode_batch(lines, strict=False)
  strange = [line for line, ids in zip(lines, encoded) if ids is None]
  if strange:
    words = sorted({word for line in strange for word in line.split()})
    known = tokenizer.encode_batch(words, strict=False)
    words = [word for word, ids in zip(words, known) if ids is None]
    raise ValueError(
      "the plan's canaries must be of text that the run's tokenizer knows: "
      "this plan belongs to another corpus or run. Received: "
      f"{len(strange)} of {len(lines)} canaries with {len(words)} unknown "
      f"words, such as {', '.join(words[:5]) or strange[0]}"
    )


def audit_function(
  transcribe: Callable[[Sequence[np.ndarray], int], Sequence[str]],
  name: str,
  canaries: Canaries,
  directory: str | os.PathLike | None = None,
  batch_size: int = 64,
) -> tuple[list[audit.AuditedCheckpoint], list[str], float]:
  """Audits any function from waveforms to text.

  Args:
    transcribe: function (list of float32 [samples], sample_rate) -> strings.
    name: str for the report.
    canaries: `launch.canaries.of_run.Canaries`.
    directory: the run whose test set gives the word error rate; None: none.
    batch_size: int, waveforms a call.

  Returns:
    list of one `tf_pcc.audit.AuditedCheckpoint`, notes for the report, and the
    seconds that transcribing the canaries took.

  Raises:
    ValueError: If it raises, or does not return one string a waveform.
  """

  def guarded(waveforms, rate):
    try:
      return transcribe(waveforms, rate)
    except Exception as error:
      raise ValueError(
        f"{name} must transcribe; --verbosity=1 shows where it failed. "
        f"Received: {type(error).__name__}: {error}"
      ) from error

  def transcripts_of(records, rows):
    # In their order: a function may remember what it has transcribed before.
    found = driver.run_function(
      guarded,
      ((row, records.read(row)) for row in rows),
      records.sample_rate,
      batch_size,
      by_length=False,
      total=len(rows),
    )
    return [transcript for _, transcript in found]

  start = time.monotonic()
  transcripts = transcripts_of(
    canaries.records, canaries.rows(canaries.plan.all)
  )
  seconds = time.monotonic() - start
  wer, notes = None, []
  if directory:
    test = datasets.open_splits(saved_config.load_config(directory)).get("test")
    if test is not None:
      transcribed = transcripts_of(test, range(len(test)))
      plain = [text.normalize(line) for line in transcribed]
      wer = error_rates.score(test.texts, plain).wer
      notes.append(f"Word error rate: {len(test)} test utterances.")
  notes.insert(
    0,
    f"Recogniser {name}: transcripts only, so canaries are ranked by character "
    "error rate.",
  )
  entry = _entry(canaries, transcripts, run=name, step=0, wer=wer)
  return [entry], notes, seconds


def _entry(canaries, transcripts, losses=None, **fields):
  """An `AuditedCheckpoint` from scores in the order of `plan.all`."""
  plan = canaries.plan
  count = len(plan.canaries)

  def scores(group, part):
    return audit.score_transcripts(
      [canary.text for canary in group],
      transcripts[part],
      None if losses is None else losses[part],
    )

  return audit.AuditedCheckpoint(
    inserted=scores(plan.canaries, slice(0, count)),
    holdout=scores(plan.holdout, slice(count, None)),
    **fields,
  )

"""Audited checkpoints: a run's own, or any function from sound to text."""

import numpy as np
from absl import logging
from tqdm import tqdm

from launch import datasets, recognisers, scoring, workdir
from tf_pcc import audit
from tf_pcc.data import text


def audit_run(directory, canaries, which="last", batch_size=64):
  """Audits checkpoints of a training run.

  Args:
    directory: the run's directory.
    canaries: `launch.canaries.Canaries`.
    which: "all" checkpoints or the "last".
    batch_size: int.

  Returns:
    list of `tf_pcc.audit.AuditedCheckpoint`, and notes for the report.

  Raises:
    ValueError: when there is no checkpoint, or a loss is NaN.
  """
  model, tokenizer, config, _ = workdir.load_model(directory)
  recogniser = recognisers.Recogniser(model, tokenizer, batch_size)
  test = datasets.open_splits(config).get("test")
  paths = workdir.checkpoint_paths(directory)
  paths = paths if which == "all" else paths[-1:]
  method = config.clipping.method
  entries = []
  for step, path in tqdm(paths, desc="audit", unit="checkpoint"):
    recogniser.restore(path)
    losses, transcripts = recogniser.score(canaries.records)
    wer = None
    if test is not None:
      wer = scoring.score(test.texts, recogniser.transcribe(test)).wer
    try:
      entries.append(
        _entry(
          canaries,
          [transcripts[row] for row in canaries.rows(canaries.plan.all)],
          losses[canaries.rows(canaries.plan.all)],
          run=f"{method} seed {config.seed}",
          method=method,
          seed=config.seed,
          step=step,
          wer=wer,
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
      "frames: training left them out, and here they count as inserted. Plan "
      "with launch.make_canaries --fit, or at a lower speed."
    )
    logging.warning(notes[-1])
  if test is not None:
    notes.append(
      f"Word error rates are those of {len(test)} test utterances, greedy "
      "decoding."
    )
  return entries, notes


def audit_function(transcribe, name, canaries, directory=None, batch_size=64):
  """Audits any function from waveforms to text.

  Args:
    transcribe: function (list of float32 [samples], sample_rate) -> strings.
    name: str for the report.
    canaries: `launch.canaries.Canaries`.
    directory: the run whose test set gives the word error rate; None: none.
    batch_size: int, waveforms a call.

  Returns:
    list of one `tf_pcc.audit.AuditedCheckpoint`, and notes for the report.

  Raises:
    ValueError: when it does not return one string a waveform.
  """

  def heard(waveforms, rate):
    return audit.transcribe_in_batches(transcribe, waveforms, rate, batch_size)

  transcripts = heard(canaries.waveforms(), canaries.records.sample_rate)
  wer, notes = None, []
  if directory:
    test = datasets.open_splits(workdir.load_config(directory)).get("test")
    if test is not None:
      waveforms = [
        test.read(row).astype(np.float32) / 2**15 for row in range(len(test))
      ]
      transcribed = heard(waveforms, test.sample_rate)
      plain = [text.normalize(line) for line in transcribed]
      wer = scoring.score(test.texts, plain).wer
      notes.append(f"Word error rate: {len(test)} test utterances.")
  notes.insert(
    0,
    f"Recogniser {name}: transcripts only, so canaries are ranked by character "
    "error rate.",
  )
  return [_entry(canaries, transcripts, run=name, step=0, wer=wer)], notes


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

"""The noise-masking attack on a run: does it fill in a masked secret?

For canaries whose text is a template with a secret. Where the secret is spoken
is asked of the recogniser itself: the best CTC path of the true text. All
between the word before the secret and the word after it is hidden, because CTC
says a word in few frames, early or late in its sound. The hold-out, masked
alike, tells what guessing gives.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from launch.canaries import scores
from launch.canaries.of_run import Canaries
from launch.recognition import driver as driver_
from launch.recognition.driver import Driver
from launch.runs import opening
from models.decoding import alignment
from tf_pcc import audit
from tf_pcc.audit import noise_masking
from tf_pcc.data import records, text
from tf_pcc.data.records import Records
from tf_pcc.data.text import Tokenizer

MASKS = ("none", *noise_masking.MASKS)


def attack_run(
  directory: str | os.PathLike,
  canaries: Canaries,
  mask: str,
  batch_size: int = 64,
  step: int | None = None,
) -> tuple[dict[str, Any], list[str]]:
  """Runs the attack on a checkpoint of a training run.

  Args:
    directory: the run's directory.
    canaries: `launch.canaries.of_run.Canaries`.
    mask: "noise" or "silence".
    batch_size: int.
    step: int, which checkpoint; the newest by default.

  Returns:
    dict as in `attack`, and notes for the report.

  Raises:
    ValueError: If a canary has no secret, the model has no CTC output or
      no labels for a canary, or `attack` refuses.
  """
  plan = canaries.plan
  if not all(canary.secret for canary in plan.all):
    raise ValueError(
      "--mask needs canaries with a secret to hide: train with "
      "--config.canaries.kind=template and --config.canaries.templates, such "
      "as MY NUMBER IS {secret}. "
      f"Received: mask={mask}, kind={plan.settings['kind']}"
    )
  model, tokenizer, _, step = opening.load_model(directory, step=step)
  if not model.has_ctc:
    raise ValueError(
      "--mask needs a model with a CTC output, which says where a secret is "
      f"spoken; {type(model).__name__} has none. Received: mask={mask}"
    )
  scores.require_vocabulary(tokenizer, canaries)
  driver = driver_.Driver(model, tokenizer, batch_size)
  log_probs = frame_log_probs(driver, canaries.records)
  log_probs = [log_probs[row] for row in canaries.rows(plan.all)]
  found = locate(canaries, log_probs, tokenizer, model.frame_seconds)

  def transcribe(waveforms, sample_rate):
    return driver.transcribe(
      records.MemoryRecords(
        waveforms, [""] * len(waveforms), sample_rate=sample_rate
      )
    )

  rate = canaries.records.sample_rate
  lost = sum(utterance is None for utterance in found)
  notes = [
    f"Noise masking: step {step}; the secret's sound, from the end of the word "
    f"before it to the start of the word after it, is replaced by {mask}."
  ]
  if lost:
    notes.append(
      f"{lost} canaries are not masked: their labels do not fit their frames."
    )
  return attack(plan, found, transcribe, rate, mask), notes


def frame_log_probs(driver: Driver, spoken: Records) -> list[np.ndarray]:
  """CTC's log-probabilities of each frame.

  Args:
    driver: `launch.recognition.driver.Driver` of a model with a CTC output.
    spoken: `Records`.

  Returns:
    list of float32 [T, V], an array for each utterance.
  """
  result = [np.zeros([0, 0], np.float32)] * len(spoken)
  found = driver.run(driver.model.frame_log_probs, spoken)
  for row, (log_probs, length) in found:
    result[row] = log_probs[:length]
  return result


def locate(
  canaries: Canaries,
  log_probs: Sequence[np.ndarray],
  tokenizer: Tokenizer,
  frame_seconds: float,
) -> list[audit.MaskedUtterance | None]:
  """Where every canary's secret is spoken.

  Args:
    canaries: `launch.canaries.of_run.Canaries`.
    log_probs: list of float [T, V], in the order of `plan.all`.
    tokenizer: `tf_pcc.data.text.Tokenizer`.
    frame_seconds: float, seconds between two frames.

  Returns:
    list of `tf_pcc.audit.MaskedUtterance` in that order, None where the labels
    do not fit the frames.
  """
  plan, rate = canaries.plan, canaries.records.sample_rate
  found = []
  for canary, waveform, values in zip(
    plan.all, canaries.waveforms(), log_probs
  ):
    plain, secret = (
      text.normalize(canary.text),
      text.normalize(canary.secret or ""),
    )
    ids = tokenizer.encode(plain)
    aligned = alignment.align(values, ids)
    words = aligned and alignment.word_times(
      [tokenizer.surfaces[i] for i in ids], *aligned, frame_seconds
    )
    span = None
    # A space that CTC puts nowhere leaves two words one.
    if words and [word["word"] for word in words] == plain.split():
      first = _words_before(plan, canary)
      span = _stretch(
        words, first, first + len(secret.split()), len(waveform) / rate
      )
    found.append(span and audit.MaskedUtterance(waveform, plain, secret, *span))
  return found


def attack(
  plan: audit.CanaryPlan,
  utterances: Sequence[audit.MaskedUtterance | None],
  transcribe: Callable[[Sequence[np.ndarray], int], Sequence[str]],
  sample_rate: int,
  mask: str,
) -> dict[str, Any]:
  """The attack on the inserted canaries and on the hold-out.

  Args:
    plan: `tf_pcc.audit.CanaryPlan`.
    utterances: from `locate`.
    transcribe: function (list of float32 [samples], sample_rate) -> strings.
    sample_rate: Hz.
    mask: "noise" or "silence".

  Returns:
    dict from "inserted" and "hold-out" to what
    `tf_pcc.audit.noise_masking_attack` returns; that of the first has groups,
    by repetition count.

  Raises:
    ValueError: If nothing inserted, or nothing held out, can be masked.
  """
  count = len(plan.canaries)
  parts = {
    "inserted": (plan.canaries, utterances[:count]),
    "hold-out": (plan.holdout, utterances[count:]),
  }
  secrets = sorted({text.normalize(c.secret) for c in plan.canaries})
  results = {}
  for name, (group, members) in parts.items():
    pairs = [(c, u) for c, u in zip(group, members) if u is not None]
    if not pairs:
      raise ValueError(
        f"--mask: no canary of the {name} ones has its labels in its frames, "
        f"so nothing can be hidden; slow them down. Received: mask={mask}"
      )
    results[name] = audit.noise_masking_attack(
      [utterance for _, utterance in pairs],
      transcribe,
      sample_rate,
      secrets=secrets,
      mask=mask,
      groups=[c.repetitions for c, _ in pairs] if name == "inserted" else None,
      # The recogniser makes batches of its own.
      batch_size=len(pairs),
      progress=False,
    )
  return results


def _words_before(plan, canary):
  """How many words of the canary's text precede its secret."""
  for template in plan.settings["templates"]:
    if template.replace("{secret}", canary.secret) == canary.text:
      return len(text.normalize(template.partition("{secret}")[0]).split())
  raise ValueError(
    "the plan must hold the template of every canary. "
    f"Received: text={canary.text!r} of {canary.id}"
  )


def _stretch(words, first, end, seconds):
  """From the end of the word before to the start of the word after."""
  start = words[first - 1]["end"] if first else 0.0
  stop = words[end]["start"] if end < len(words) else seconds
  stop = min(stop, seconds)
  return (start, stop) if start < stop else None

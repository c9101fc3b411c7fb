"""Noise masking: hide a secret in the sound and see whether the model says it.

Amid, Thakkar, Narayanan, Mathews, Beaufays 2022, "Extracting Targeted Training
Data from ASR Models, and How to Mitigate It" (arXiv 2204.08345): a part of a
training utterance (in the paper, a name) is replaced by noise; the recogniser
fills the gap. It is counted how often it says the true secret, and how often
any secret of the training set.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tf_pcc.audit import bootstrap, scoring
from tf_pcc.data.text import normalize

MASKS = ("silence", "noise")


@dataclasses.dataclass(frozen=True)
class MaskedUtterance:
  """An utterance and where its secret is spoken.

  Attributes:
    waveform: Float array [samples] in [-1, 1], secret included.
    text: The whole transcript.
    secret: The part of it to hide; one or more words.
    start: Where the secret starts in the waveform, in seconds.
    end: Where it ends, in seconds.
  """

  waveform: np.ndarray
  text: str
  secret: str
  start: float
  end: float


def mask_segment(
  waveform: np.ndarray,
  sample_rate: int,
  start: float,
  end: float,
  mask: str = "noise",
  snr_db: float = 0.0,
  rng: np.random.Generator | int | None = None,
) -> np.ndarray:
  """Replace a stretch of sound; what was there is gone.

  Args:
    waveform: Float array [samples].
    sample_rate: Hz.
    start: Seconds.
    end: Seconds, after start.
    mask: "noise" (white Gaussian, default) or "silence" (zeros).
    snr_db: For noise: level of the whole utterance over the noise, in dB; 0
      (default) is noise as loud as the speech.
    rng: numpy Generator or seed, needed for noise.

  Returns:
    A new float32 array [samples].

  Raises:
    ValueError: If the stretch is empty or outside the waveform, or the mask is
      unknown.
  """
  waveform = np.array(waveform, dtype=np.float32)
  seconds = waveform.size / sample_rate
  # A millisecond of grace: alignments round.
  if waveform.ndim != 1 or not 0 <= start < end <= seconds + 1e-3:
    raise ValueError(
      "start and end must lie inside a mono waveform, start before end. "
      f"Received: start={start!r}, end={end!r} for {seconds:.3f} seconds of "
      f"shape {waveform.shape}"
    )
  if mask not in MASKS:
    raise ValueError(f"mask must be one of {MASKS}. Received: mask={mask!r}")
  first, last = round(start * sample_rate), round(end * sample_rate)
  level = np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
  waveform[first:last] = 0
  if mask == "noise":
    noise = np.random.default_rng(rng).standard_normal(
      waveform[first:last].size
    )
    waveform[first:last] = noise * level * 10 ** (-snr_db / 20)
  return np.clip(waveform, -1, 1)


def says(transcript: str, secret: str, context: Iterable[str] = ()) -> bool:
  """Whether a transcript holds a secret beyond what its context says anyway.

  Args:
    transcript: What the recogniser wrote.
    secret: Words to look for, side by side.
    context: The parts of the utterance's text around the secret, strings: an
      occurrence that is also in there is no evidence.

  Returns:
    bool.
  """
  wanted = normalize(secret).split()
  expected = sum(_count(normalize(part).split(), wanted) for part in context)
  return _count(normalize(transcript).split(), wanted) > expected


def _count(words, wanted):
  places = range(len(words) - len(wanted) + 1)
  return sum(words[i : i + len(wanted)] == wanted for i in places)


def noise_masking_attack(
  utterances: Sequence[MaskedUtterance],
  transcribe: Callable[[list[np.ndarray], int], Sequence[str]],
  sample_rate: int,
  secrets: Iterable[str] | None = None,
  mask: str = "noise",
  snr_db: float = 0.0,
  groups: Sequence[Any] | None = None,
  batch_size: int = 16,
  resamples: int = bootstrap.RESAMPLES,
  confidence: float = bootstrap.CONFIDENCE,
  seed: int = 0,
  progress: bool = True,
) -> dict[str, Any]:
  """Run the attack on utterances the recogniser was trained on.

  Run it a second time on utterances it was not trained on: the rates there are
  what guessing gives.

  Args:
    utterances: Sequence of MaskedUtterance.
    transcribe: Callable (list of float32 arrays, sample_rate) -> list of str.
    sample_rate: Hz.
    secrets: All secrets of the training set; default those of `utterances`.
    mask: "noise" (default) or "silence".
    snr_db: As in `mask_segment`.
    groups: Optional sequence of as many values, for example how often each
      utterance was trained on: the rates of each value are given, too.
    batch_size: Waveforms a call of `transcribe`.
    resamples: Number of bootstrap draws.
    confidence: Coverage of the intervals, default 0.95.
    seed: Integer: the noise and the bootstrap.
    progress: Whether to show a progress bar.

  Returns:
    A dict of JSON values: count, exact {estimate, low, high} (the true secret
    is in the transcript), any_secret {estimate, low, high} (some secret of the
    training set is), mask, snr_db, transcripts, and groups: a list of dicts of
    group, count, exact and any_secret, in order of the values; empty without
    them.

  Raises:
    ValueError: If there are no utterances, a secret that is not in its text, a
      stretch outside its waveform, another number of groups, or what
      `transcribe_in_batches` refuses.
  """
  utterances = list(utterances)
  if not utterances:
    raise ValueError("utterances must not be empty. Received: utterances=[]")
  if groups is not None and len(groups) != len(utterances):
    raise ValueError(
      "groups must hold one value for each utterance. Received: "
      f"{len(groups)} groups for {len(utterances)} utterances"
    )
  contexts = []
  for utterance in utterances:
    text, secret = normalize(utterance.text), normalize(utterance.secret)
    if not secret or f" {secret} " not in f" {text} ":
      raise ValueError(
        "secret must be words of its utterance's text. Received: "
        f"secret={utterance.secret!r}, text={utterance.text!r}"
      )
    before, _, after = f" {text} ".partition(f" {secret} ")
    contexts.append((before, after))
  known = {u.secret for u in utterances} if secrets is None else set(secrets)
  rng = np.random.default_rng(seed)
  masked = [
    mask_segment(u.waveform, sample_rate, u.start, u.end, mask, snr_db, rng)
    for u in utterances
  ]
  transcripts = scoring.transcribe_in_batches(
    transcribe, masked, sample_rate, batch_size, progress
  )
  answers = list(zip(utterances, transcripts, contexts))
  exact = [says(t, u.secret, context) for u, t, context in answers]
  some = [any(says(t, s, context) for s in known) for _, t, context in answers]
  # The true secret is one of the training set's, listed or not.
  some = np.logical_or(exact, some)

  def rate(hits):
    return bootstrap.mean_interval(
      hits,
      ends=(0, 1),
      resamples=resamples,
      confidence=confidence,
      seed=seed,
    )._asdict()

  def rates(members):
    return {
      "count": len(members),
      "exact": rate(np.array(exact)[members]),
      "any_secret": rate(some[members]),
    }

  by_group = {}
  for index, group in enumerate(() if groups is None else groups):
    by_group.setdefault(group, []).append(index)
  return {
    **rates(list(range(len(utterances)))),
    "groups": [{"group": g, **rates(by_group[g])} for g in sorted(by_group)],
    "mask": mask,
    "snr_db": snr_db,
    "transcripts": transcripts,
  }

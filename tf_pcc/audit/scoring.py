"""Scores of canaries: losses and transcripts of any recogniser.

The character error rate comes from jiwer (extra [audit]).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tf_pcc import bars, extras
from tf_pcc.audit import checks
from tf_pcc.data.text import normalize

SCORES = ("loss", "cer")


@dataclasses.dataclass(frozen=True)
class CanaryScores:
  """What a recogniser did with a list of utterances.

  Attributes:
    references: Tuple of n reference transcripts, normalised.
    transcripts: Tuple of n recognised transcripts, normalised.
    edits: Array [n] int64: character substitutions, deletions, insertions.
    characters: Array [n] int64: characters of the references, >= 1.
    losses: Array [n] float64, nats per token, or None when unknown. A loss is
      infinite where no labelling is possible, as by CTC for more labels than
      frames: it ranks last.
  """

  references: tuple
  transcripts: tuple
  edits: np.ndarray
  characters: np.ndarray
  losses: np.ndarray | None = None

  @property
  def cer(self) -> np.ndarray:
    """Character error rate of each utterance, [n]; may exceed 1."""
    return self.edits / self.characters

  @property
  def exact(self) -> np.ndarray:
    """Whether each transcript is exactly the reference, bool [n]."""
    return self.edits == 0

  def by(self, score: str) -> np.ndarray:
    """The scores of one kind; lower means more memorized.

    Args:
      score: "loss" or "cer".

    Returns:
      float64 array [n].

    Raises:
      ValueError: If `score` is neither, or "loss" where there are no losses.
    """
    if score not in SCORES:
      raise ValueError(
        f"score must be one of {SCORES}. Received: score={score!r}"
      )
    if score == "cer":
      return self.cer
    if self.losses is None:
      raise ValueError(
        "score='loss' needs losses, and a transcribe function gives none; use "
        "score='cer'. Received: losses=None"
      )
    return self.losses

  def to_dict(self) -> dict[str, Any]:
    """JSON values: lists of str, int and float; null is an infinite loss."""
    losses = self.losses
    if losses is not None:
      losses = [None if loss == np.inf else loss for loss in losses.tolist()]
    return {
      "references": list(self.references),
      "transcripts": list(self.transcripts),
      "edits": self.edits.tolist(),
      "characters": self.characters.tolist(),
      "losses": losses,
    }

  @classmethod
  def from_dict(cls, fields: Mapping[str, Any]) -> "CanaryScores":
    """The scores written by `to_dict`.

    Args:
      fields: the dict.

    Returns:
      `CanaryScores`.
    """
    losses = fields["losses"]
    if losses is not None:
      losses = [np.inf if loss is None else loss for loss in losses]
    return cls(
      references=tuple(fields["references"]),
      transcripts=tuple(fields["transcripts"]),
      edits=np.array(fields["edits"], np.int64),
      characters=np.array(fields["characters"], np.int64),
      losses=None if losses is None else np.array(losses, np.float64),
    )


def groups_of(entry: Mapping[str, Any]) -> tuple[CanaryScores, CanaryScores]:
  """The scores of a checkpoint.

  Args:
    entry: Of "checkpoints" of an audit.json.

  Returns:
    Those of the inserted canaries and of the held-out ones.
  """
  inserted, holdout = (
    CanaryScores.from_dict(entry["scores"][name])
    for name in ("inserted", "holdout")
  )
  return inserted, holdout


def score_transcripts(
  references: Sequence[str],
  transcripts: Sequence[str],
  losses: ArrayLike | None = None,
  normalize: Callable[[str], str] = normalize,
) -> CanaryScores:
  """Score recognised transcripts against the references.

  Args:
    references: Sequence of n strings.
    transcripts: Sequence of n strings, in the same order.
    losses: Optional array [n], nats per token; infinite ones rank last.
    normalize: Callable str -> str for both sides; default
      `tf_pcc.data.text.normalize`: upper case without punctuation.

  Returns:
    CanaryScores.

  Raises:
    ValueError: If numbers are unequal, something is no string, a reference is
      empty, or a loss is NaN or minus infinity.
    ImportError: If jiwer is missing.
  """
  jiwer = extras.load("jiwer", "The character error rate", "audit")
  references, transcripts = list(references), list(transcripts)
  if len(transcripts) != len(references):
    raise ValueError(
      "transcripts must hold one string for each reference. Received: "
      f"{len(transcripts)} transcripts for {len(references)} references"
    )
  strange = [t for t in references + transcripts if not isinstance(t, str)]
  if strange:
    raise ValueError(
      "references and transcripts must be strings. "
      f"Received: {strange[0]!r} of {type(strange[0])}"
    )
  references = [normalize(text) for text in references]
  transcripts = [normalize(text) for text in transcripts]
  if not all(references):
    raise ValueError(
      "references must not be empty after normalisation. "
      f"Received: an empty one at index {references.index('')}"
    )
  if losses is not None:
    losses = checks.as_scores("losses", losses)
    if losses.size != len(references):
      raise ValueError(
        "losses must hold one number for each reference. Received: "
        f"{losses.size} losses for {len(references)} references"
      )
    if np.any(np.isneginf(losses)):
      raise ValueError(
        "losses must be nats per token, above minus infinity. Received: "
        f"losses[{int(np.argmin(losses))}] = -inf"
      )
  edits = []
  for reference, transcript in zip(references, transcripts):
    counts = jiwer.process_characters(reference, transcript)
    edits.append(counts.substitutions + counts.deletions + counts.insertions)
  return CanaryScores(
    references=tuple(references),
    transcripts=tuple(transcripts),
    edits=np.array(edits, np.int64),
    characters=np.array([len(text) for text in references], np.int64),
    losses=losses,
  )


def transcribe_in_batches(
  transcribe: Callable[[list[np.ndarray], int], Sequence[str]],
  waveforms: Sequence[np.ndarray],
  sample_rate: int,
  batch_size: int = 16,
  progress: bool = True,
) -> list[str]:
  """Call any recogniser on waveforms, a batch at a time.

  Args:
    transcribe: Callable (list of float32 arrays [samples] in [-1, 1],
      sample_rate) -> list of as many strings.
    waveforms: Sequence of one-dimensional float arrays.
    sample_rate: Hz.
    batch_size: Waveforms a call; default 16.
    progress: Whether to show a progress bar (tqdm); default True.

  Returns:
    List of str, one for each waveform.

  Raises:
    ValueError: If the callable returns too few or too many strings, or
      something else, or for a waveform that is not one-dimensional.
  """
  waveforms = [np.asarray(waveform, np.float32) for waveform in waveforms]
  for index, waveform in enumerate(waveforms):
    if waveform.ndim != 1 or not waveform.size:
      raise ValueError(
        "waveforms must be one-dimensional and not empty (mono). Received: "
        f"waveforms[{index}] of shape {waveform.shape}"
      )
  starts = bars.make(
    range(0, len(waveforms), batch_size),
    desc="transcribe",
    unit="batch",
    disable=not progress,
  )
  transcripts = []
  for start in starts:
    batch = waveforms[start : start + batch_size]
    answer = transcribe(batch, sample_rate)
    if isinstance(answer, str) or not hasattr(answer, "__len__"):
      raise ValueError(
        "transcribe must return a list of strings. "
        f"Received: {answer!r:.80} for {len(batch)} waveforms"
      )
    if len(answer) != len(batch):
      raise ValueError(
        "transcribe must return one string a waveform, an empty one for "
        f"silence. Received: {len(answer)} strings for {len(batch)} "
        f"waveforms (from number {start} on)"
      )
    for text in answer:
      if not isinstance(text, str):
        raise ValueError(
          "transcribe must return strings. "
          f"Received: {text!r:.80} of {type(text)}"
        )
    transcripts.extend(answer)
  return transcripts

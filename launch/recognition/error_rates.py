"""Word and character error rates of transcripts."""

import dataclasses
from collections.abc import Sequence
from types import ModuleType

from tf_pcc import extras


@dataclasses.dataclass(frozen=True)
class Score:
  """Error rates of a set of transcripts.

  Attributes:
    wer: word errors over words of the references.
    cer: character errors over characters of the references.
    substitutions: words.
    deletions: words.
    insertions: words.
    words: words of the references.
    utterances: transcripts scored.
    errors: word errors of each transcript, in order.
  """

  wer: float
  cer: float
  substitutions: int
  deletions: int
  insertions: int
  words: int
  utterances: int
  errors: tuple[int, ...]


def require_jiwer() -> ModuleType:
  """The module jiwer, or an ImportError that says how to get it."""
  return extras.load("jiwer", "The word error rate", "train")


def score(references: Sequence[str], hypotheses: Sequence[str]) -> Score:
  """Word and character error rates, by jiwer.

  Args:
    references: list of transcripts; an empty one makes every word of its
      hypothesis an insertion.
    hypotheses: list of as many transcripts.

  Returns:
    `Score`.

  Raises:
    ValueError: If the lists differ in length or no reference has a word.
  """
  jiwer = require_jiwer()
  if len(references) != len(hypotheses) or not any(references):
    raise ValueError(
      "references and hypotheses must be as many, with words among them. "
      f"Received: {len(references)} references, {len(hypotheses)} hypotheses"
    )
  errors, cer_errors, characters = [], 0, 0
  counts = {"substitutions": 0, "deletions": 0, "insertions": 0}
  for reference, hypothesis in zip(references, hypotheses):
    if not reference:
      # jiwer refuses empty references.
      errors.append(len(hypothesis.split()))
      counts["insertions"] += errors[-1]
      cer_errors += len(hypothesis)
      continue
    words = jiwer.process_words(reference, hypothesis)
    for name in counts:
      counts[name] += getattr(words, name)
    errors.append(words.substitutions + words.deletions + words.insertions)
    letters = jiwer.process_characters(reference, hypothesis)
    cer_errors += letters.substitutions + letters.deletions + letters.insertions
    characters += len(reference)
  words = sum(len(r.split()) for r in references)
  return Score(
    wer=sum(errors) / words,
    cer=cer_errors / characters,
    words=words,
    utterances=len(references),
    errors=tuple(errors),
    **counts,
  )

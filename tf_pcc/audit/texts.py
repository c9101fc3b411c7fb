"""Random transcripts for canaries: words, characters, a template's secret."""

from collections.abc import Sequence

import numpy as np

DIGITS = (
  ("ZERO", "ONE", "TWO", "THREE", "FOUR")
  + ("FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
)  # fmt: skip
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
KINDS = ("words", "characters", "template")


def random_text(
  rng: np.random.Generator,
  kind: str,
  vocabulary: Sequence[str],
  length: int,
  templates: Sequence[str] = (),
) -> tuple[str, str | None]:
  """Draw one transcript.

  Args:
    rng: numpy Generator.
    kind: "words": `length` words of the vocabulary; "characters": one string of
      `length` characters spoken one by one ("Q X A"); "template": one of
      `templates` with its {secret} replaced by `length` vocabulary words.
    vocabulary: Sequence of words, or of characters.
    length: Words, characters, or words of the secret.
    templates: Sequence of strings that each hold "{secret}" once.

  Returns:
    (text, secret); secret is None but for a template.
  """
  drawn = [
    vocabulary[int(i)] for i in rng.integers(len(vocabulary), size=length)
  ]
  joined = " ".join(drawn)
  if kind != "template":
    return joined, None
  template = templates[int(rng.integers(len(templates)))]
  return template.replace("{secret}", joined), joined


def check_generator(
  kind: str, vocabulary: Sequence[str], length: int, templates: Sequence[str]
) -> None:
  """Refuses arguments that `random_text` cannot use.

  Args:
    kind: one of `KINDS`.
    vocabulary: words or characters.
    length: words, characters, or words of a secret.
    templates: sentences that hold "{secret}", for kind "template".

  Raises:
    ValueError: If one is outside its range or does not suit the kind.
  """
  if kind not in KINDS:
    raise ValueError(f"kind must be one of {KINDS}. Received: kind={kind!r}")
  if len(set(vocabulary)) < 2:
    raise ValueError(
      "vocabulary must hold at least two different words or characters. "
      f"Received: vocabulary={list(vocabulary)[:10]!r}"
    )
  if kind == "characters" and any(len(entry) != 1 for entry in vocabulary):
    raise ValueError(
      "vocabulary must hold single characters for kind='characters'. "
      f"Received: vocabulary={list(vocabulary)[:10]!r}"
    )
  if length < 1:
    raise ValueError(f"length must be at least 1. Received: length={length!r}")
  if kind == "template" and not templates:
    raise ValueError(
      "templates must hold at least one sentence for kind='template', such as "
      f"'MY NUMBER IS {{secret}}'. Received: templates={templates!r}"
    )
  for template in templates:
    if template.count("{secret}") != 1:
      raise ValueError(
        "each template must hold {secret} exactly once. "
        f"Received: template={template!r}"
      )

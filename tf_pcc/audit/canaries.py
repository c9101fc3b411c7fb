"""Canaries and their plan, which is kept as JSON."""

import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from tf_pcc import files
from tf_pcc.audit import plan_fields


@dataclasses.dataclass(frozen=True)
class Canary:
  """One utterance of the plan.

  Attributes:
    id: Unique name, for example "canary-x8-003" or "holdout-017".
    text: The transcript.
    voice: What the synthesiser needs to know, a plain dict of JSON values.
    speed: Factor by which the speech is sped up; 4.0 leaves a quarter.
    repetitions: Times it is inserted in training; 0 for the hold-out.
    secret: The secret part of a template's text, otherwise None.
    speaker: Whose voice it is, where speakers are inserted or held out as a
      whole; otherwise None.
    coin: Where a fair coin decided whether it is inserted: how often it is if
      so; otherwise None. See `coins.flip_coins`.
  """

  id: str
  text: str
  voice: dict
  speed: float
  repetitions: int
  secret: str | None = None
  speaker: str | None = None
  coin: int | None = None


# Fields younger than some plans: where all have none, digests stay the same.
_LATER = ("speaker", "coin")


@dataclasses.dataclass(frozen=True)
class CanaryPlan:
  """Canaries to insert, canaries to hold out, and how they were drawn.

  Attributes:
    canaries: Tuple of Canary, repetitions > 0.
    holdout: Tuple of Canary, repetitions 0.
    settings: The arguments of `make_plan` that are JSON values.
    dropped: Candidates left out because their labels did not fit their frames.
  """

  canaries: tuple
  holdout: tuple
  settings: dict
  dropped: int = 0

  @property
  def all(self) -> tuple[Canary, ...]:
    """Inserted canaries, then the hold-out: the order to synthesise in."""
    return self.canaries + self.holdout

  @property
  def repetitions(self) -> np.ndarray:
    """Repetition count of every inserted canary, int64 array [n]."""
    return np.array([c.repetitions for c in self.canaries], dtype=np.int64)

  def to_json(self) -> str:
    """The plan as JSON; `from_json` of it gives an equal plan and text."""
    fields = dataclasses.asdict(self)
    for canary in (*fields["canaries"], *fields["holdout"]):
      for name in _LATER:
        if canary[name] is None:
          del canary[name]
    return (
      json.dumps(
        {"format": 1, **fields},
        ensure_ascii=False,
        indent=1,
        sort_keys=True,
        allow_nan=False,
      )
      + "\n"
    )

  @classmethod
  def from_json(cls, text: str) -> "CanaryPlan":
    """The plan written by `to_json`, or by hand.

    Args:
      text: the JSON.

    Returns:
      CanaryPlan.

    Raises:
      ValueError: If a field is missing, unknown or wrong; it is named.
    """
    try:
      fields = json.loads(text)
    except (ValueError, RecursionError) as error:
      raise ValueError(
        f"a canary plan must be JSON: {error}. Received: text={text[:60]!r}"
      ) from error
    if not isinstance(fields, dict) or fields.pop("format", None) != 1:
      raise ValueError(
        "text must be a canary plan of format 1, as CanaryPlan.to_json writes "
        f"it. Received: text={text[:60]!r}"
      )
    plan_fields.check(fields)
    for group in ("canaries", "holdout"):
      fields[group] = tuple(Canary(**canary) for canary in fields[group])
    return cls(**fields)

  def digest(self) -> str:
    """SHA-256 of the plan, 64 hex digits: equal plans have equal digests."""
    return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()

  def save(
    self, path: str | os.PathLike, overwrite: bool = False
  ) -> pathlib.Path:
    """Writes the plan as JSON, whole or not at all.

    Args:
      path: local file; missing folders are made.
      overwrite: whether it may exist. Default False.

    Returns:
      The path, `pathlib.Path`.

    Raises:
      FileExistsError: If it exists and `overwrite` is False.
    """
    path = pathlib.Path(path)
    files.refuse_existing([path], overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, self.to_json())
    return path

  @classmethod
  def load(cls, path: str | os.PathLike) -> "CanaryPlan":
    """Reads a plan.

    Args:
      path: local file, as `save` writes it.

    Returns:
      CanaryPlan.

    Raises:
      FileNotFoundError: If there is none.
      ValueError: If it is damaged, as in `from_json`.
    """
    path = pathlib.Path(path)
    if not path.is_file():
      raise FileNotFoundError(
        "there is no canary plan, so nobody knows what was inserted: audit a "
        "run that was trained with canaries, or give the plan it was trained "
        f"with. Received: path={str(path)!r}"
      )
    try:
      return cls.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from error

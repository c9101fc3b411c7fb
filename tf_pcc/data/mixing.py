"""Several sets of records as one, with weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_pcc.data.records import MemoryRecords, Records


class MixedRecords:
  """Sets of records one after another, with the interface of `Records`.

  A pass has every utterance of a set of weight 1 once, of a set of weight 2
  twice; of one of weight 0.5 it has half of the utterances, always the same,
  drawn by the seed.

  Args:
    parts: `Records` or `MemoryRecords`, of one sample rate.
    weights: One positive number for each. Default: 1 for each.
    seed: Decides which utterances fractions leave out. Default 0.

  Raises:
    ValueError: If the weights are not as many as the sets, one is not positive,
      or the sample rates differ.

  Example:
    >>> import numpy as np
    >>> from tf_pcc.data import mixing, records
    >>> one = records.MemoryRecords([np.zeros(8)] * 2, ["A", "B"])
    >>> two = records.MemoryRecords([np.zeros(9)], ["C"])
    >>> mixing.MixedRecords([one, two], [1, 3]).texts
    ('A', 'B', 'C', 'C', 'C')
  """

  def __init__(
    self,
    parts: Sequence[Any],
    weights: Sequence[float] = (),
    seed: int = 0,
  ):
    weights = list(weights) or [1.0] * len(parts)
    if len(weights) != len(parts) or not all(
      0 < weight < np.inf for weight in weights
    ):
      raise ValueError(
        "`weights` must be one positive number for each set of records. "
        f"Received: weights={tuple(weights)}, {len(parts)} sets"
      )
    rates = {part.sample_rate for part in parts}
    if len(rates) != 1:
      raise ValueError(
        "Sets of records must have one sample rate. Received: "
        f"sample_rates={sorted(rates)}"
      )
    self._parts = tuple(parts)
    self.parallel = max(getattr(part, "parallel", 1) for part in parts)
    self._rows = []
    for number, (part, weight) in enumerate(zip(parts, weights)):
      whole, rest = int(weight), weight - int(weight)
      order = np.random.default_rng([seed, number]).permutation(len(part))
      some = np.sort(order[: round(rest * len(part))])
      rows = [*(list(range(len(part))) * whole), *some.tolist()]
      self._rows += [(number, row) for row in rows]
    self.sample_rate = rates.pop()
    names = {getattr(part, "normalizer", "") for part in parts}
    self.normalizer = names.pop() if len(names) == 1 else ""
    self.samples = np.array(self._of("samples"), np.int64)
    self.ids = tuple(self._of("ids"))
    self.texts = tuple(self._of("texts"))
    self.speakers = tuple(self._of("speakers"))

  def _of(self, field):
    columns = [getattr(part, field) for part in self._parts]
    return [columns[number][row] for number, row in self._rows]

  def __len__(self):
    return len(self._rows)

  def __repr__(self):
    return f"MixedRecords({list(self._parts)!r}, utterances={len(self)})"

  def read(self, i: int) -> np.ndarray:
    """The waveform of an utterance.

    Args:
      i: Its number.

    Returns:
      int16 array `[samples[i]]`.
    """
    number, row = self._rows[i]
    return self._parts[number].read(row)

  def place(self, i: int) -> Any:
    """Where an utterance is.

    Args:
      i: Number of the utterance, in [0, len(self)).

    Returns:
      As `place` of the set that it is in.
    """
    number, row = self._rows[i]
    return self._parts[number].place(row)

  def verify(self) -> None:
    """Reads and compares every set, as `Records.verify`."""
    for part in self._parts:
      part.verify()


# What has the interface of `Records`.
AnyRecords = Records | MemoryRecords | MixedRecords

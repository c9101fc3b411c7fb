"""Utterances of the training set that stand in another split, too."""

from collections.abc import Mapping

import numpy as np

from tf_pcc.data import mixing, records

# Training utterances of one text and length that are compared with another.
_COMPARED = 20


def shared(splits: Mapping[str, mixing.AnyRecords]) -> dict[str, int]:
  """How many utterances of the other splits are in the training set, too.

  Of those with the transcript and the length of a training utterance the sound
  is compared.

  Args:
    splits: dict from split to records, as `datasets.open_splits` gives it.

  Returns:
    dict from the names of the other splits to counts.
  """
  train, found = splits["train"], {}
  places = {}
  for row, what in enumerate(zip(train.texts, train.samples.tolist())):
    places.setdefault(what, []).append(row)
  for name in splits.keys() - {"train"}:
    split, count = splits[name], 0
    for row, what in enumerate(zip(split.texts, split.samples.tolist())):
      for other in places.get(what, ())[:_COMPARED]:
        if _equal(split, row, train, other):
          count += 1
          break
    found[name] = count
  return found


def _equal(one, row, other, place):
  try:
    return np.array_equal(one.read(row), other.read(place))
  except records.DamagedRecord:
    # Training says so, and what becomes of it.
    return False

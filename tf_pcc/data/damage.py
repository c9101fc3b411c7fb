"""Damaged records in training: named, counted, replaced up to a limit."""

import threading

from absl import logging

from tf_pcc.data.shards import DamagedRecord


class Damage:
  """The damaged records that a training met.

  Args:
    limit: the largest share of the utterances that may be damaged, in [0, 1).
      0 allows none.
    utterances: how many there are.

  Attributes:
    limit: as given.
    found: dict from the id of a damaged record to what is wrong with it.

  Raises:
    ValueError: If `limit` is outside [0, 1).
  """

  def __init__(self, limit: float, utterances: int):
    if not 0 <= limit < 1:
      raise ValueError(
        "`damaged_limit` must be a share of the utterances, at least 0 and "
        f"below 1. Received: damaged_limit={limit}"
      )
    self.found = {}
    self.limit = limit
    self._utterances = utterances
    # Several steps are read at once.
    self._lock = threading.Lock()

  def note(self, name: str, error: DamagedRecord) -> None:
    """Counts a record, once.

    Args:
      name: its id.
      error: what its reading raised.

    Raises:
      DamagedRecord: If that is more than the limit allows.
    """
    with self._lock:
      if name not in self.found:
        self.found[name] = str(error)
        logging.warning("another utterance takes its place: %s", error)
      if len(self.found) > self.limit * self._utterances:
        raise DamagedRecord(
          f"{error}, or let others take the place of a share of them. "
          f"Received: damaged_limit={self.limit}, damaged={len(self.found)}, "
          f"utterances={self._utterances}"
        ) from error

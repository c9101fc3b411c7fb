"""Which utterances can be trained on: by their labels and their length."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np


def ctc_length(labels: Sequence[int] | np.ndarray) -> int:
  """Frames CTC needs at least: one a label, one more between equal labels.

  Args:
    labels: Label ids `[u]`.

  Returns:
    Number of frames.
  """
  labels = np.asarray(labels)
  return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))


@dataclasses.dataclass(frozen=True)
class Limits:
  """What an utterance must keep to, to be trained on.

  Attributes:
    samples: The most samples.
    labels: The most labels, None for any number.
    fits: Function (labels, samples) -> bool, or None.
    fits_lengths: Function (labels, repeats, samples) -> bool `[n]` of int
      arrays `[n]`, in place of `fits`, or None.
  """

  samples: int
  labels: int | None
  fits: Callable | None
  fits_lengths: Callable | None

  def complaint(self, ids: Sequence[int] | None, samples: int) -> str | None:
    """The first limit that an utterance breaks.

    Args:
      ids: Its labels, None where its text is outside the vocabulary.
      samples: Its length.

    Returns:
      The limit's name, or None.
    """
    count = -1 if ids is None else len(ids)
    equal = 0 if ids is None else ctc_length(ids) - count
    counts, equals, lengths = (np.array([n]) for n in (count, equal, samples))
    for why, bad in self.checks(counts, equals, lengths, lambda _: [ids]):
      if bad(np.zeros(1, int))[0]:
        return why
    return None

  def checks(
    self,
    counts: np.ndarray,
    repeats: np.ndarray,
    samples: np.ndarray,
    labels_of: Callable[[np.ndarray], Iterable[Sequence[int] | None]],
  ) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """The limits, one after another.

    Args:
      counts: int array `[n]`, labels of each utterance, -1 where its text is
        outside the vocabulary.
      repeats: int array `[n]`, how many of them equal the one before.
      samples: int array `[n]`, lengths.
      labels_of: Function of row numbers: their labels.

    Yields:
      (name of a limit, function): the function takes the rows that broke no
      limit before, an int array `[m]`, and returns bool `[m]`, which of them
      break this one.
    """
    yield "unknown_character", lambda rows: counts[rows] < 0
    yield "no_label", lambda rows: counts[rows] == 0
    yield "too_long", lambda rows: samples[rows] > self.samples
    if self.labels is not None:
      yield "too_many_labels", lambda rows: counts[rows] > self.labels

    fits, fits_lengths = self.fits, self.fits_lengths
    if fits_lengths is not None:
      yield (
        "labels_exceed_frames",
        lambda rows: (
          ~np.asarray(
            fits_lengths(counts[rows], repeats[rows], samples[rows]), bool
          )
        ),
      )
    elif fits is not None:
      yield (
        "labels_exceed_frames",
        lambda rows: (
          ~np.array(
            [
              bool(fits(ids, length))
              for ids, length in zip(labels_of(rows), samples[rows].tolist())
            ],
            bool,
          )
        ),
      )


def require_batch(
  global_batch: int,
  kept: int,
  count: int,
  filtered: Mapping[str, Sequence[str]],
) -> None:
  """Refuses records that leave no full batch.

  Args:
    global_batch: Utterances of a batch.
    kept: Utterances that break no limit.
    count: Utterances before filtering.
    filtered: Ids of those left out, by the name of the limit.

  Raises:
    ValueError: If `kept` is below `global_batch`.
  """
  if kept < global_batch:
    counts = {why: len(ids) for why, ids in filtered.items()}
    raise ValueError(
      "`records` must leave a full batch after filtering: take a smaller "
      "batch, a larger limit or, for unknown characters, a tokenizer that was "
      "learnt from transcripts of the same normalizer. Received: "
      f"global_batch={global_batch}, utterances={count}, filtered={counts}"
    )

"""Transcripts of records, normalised when the records are opened."""

from collections.abc import Callable

from tf_pcc.data import normalizers
from tf_pcc.data.mixing import AnyRecords


def normalize(
  opened: AnyRecords, normalizer: str | Callable[[str], str]
) -> normalizers.Dropped:
  """Normalises the transcripts of records in place.

  Args:
    opened: records.
    normalizer: a name, or a function of a string.

  Returns:
    `normalizers.Dropped`.
  """
  dropped = normalizers.Dropped()
  if callable(normalizer):
    function = normalizer
  else:
    function = normalizers.get(normalizer)
    done = getattr(opened, "normalizer", "")
    if done and done == normalizers.signature(normalizer):
      # launch.prepare did it: nothing to do for millions of them.
      return dropped
  changed = {}
  for row, (key, before) in enumerate(zip(opened.ids, opened.texts)):
    after = function(before)
    dropped.add(key, before, after)
    if before != after:
      changed[row] = after
  # Those of millions of utterances stay in their file where they can.
  if changed:
    opened.texts = tuple(
      changed.get(row, before) for row, before in enumerate(opened.texts)
    )
  return dropped

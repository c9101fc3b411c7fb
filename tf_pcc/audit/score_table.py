"""scores.csv: what every checkpoint made of every canary."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_pcc.audit import exposure, scoring

COLUMNS = (
  *("run", "step", "id", "inserted", "repetitions", "speaker"),
  *("loss", "edits", "characters", "reference", "transcript", "exposure"),
)


def text_of(audit: Mapping[str, Any]) -> str:
  """The scores as CSV (RFC 4180, with a line of column names).

  Args:
    audit: What `audit_results` returned.

  Returns:
    A line a checkpoint and canary, in their order: inserted ones first, then
    the hold-out. inserted is 1 or 0. loss is empty where the recogniser gives
    none, "inf" where no labelling is possible. exposure is by rank, in bits, of
    the summary's score; a held-out canary is ranked among the others. speaker
    is empty where the plan has none.

  Raises:
    ValueError: If the audit has no canaries, as format 1 has none.
  """
  if "canaries" not in audit:
    raise ValueError(
      "audit must be of format 2 or later, which names its canaries: run the "
      f"audit again. Received: format={audit['format']}"
    )
  stream = io.StringIO()
  writer = csv.writer(stream, lineterminator="\n")
  writer.writerow(COLUMNS)
  for entry in audit["checkpoints"]:
    writer.writerows(_rows(audit["canaries"], entry))
  return stream.getvalue()


def _rows(canaries, entry) -> Iterator[tuple]:
  groups = scoring.groups_of(entry)
  inserted, held_out = [s.by(entry["summary"]["score"]) for s in groups]
  bits = np.concatenate(
    [
      exposure.rank_exposure(inserted, held_out),
      exposure.left_out_exposure(held_out),
    ]
  )
  members = ((scores, i) for scores in groups for i in range(len(scores.edits)))
  for canary, (scores, i), exposed in zip(canaries, members, bits, strict=True):
    loss = "" if scores.losses is None else repr(float(scores.losses[i]))
    yield (
      entry["run"],
      entry["step"],
      canary["id"],
      int(canary["inserted"]),
      canary["repetitions"],
      canary["speaker"] or "",
      loss,
      int(scores.edits[i]),
      int(scores.characters[i]),
      scores.references[i],
      scores.transcripts[i],
      f"{exposed:.6f}",
    )

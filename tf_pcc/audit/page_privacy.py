"""The report's sections on what privacy teams ask for beside the tables."""

from collections.abc import Mapping
from typing import Any

from tf_pcc.audit import cells, results, speakers
from tf_pcc.audit.sections import Section, Table


def sections(audit: Mapping[str, Any]) -> list[Section]:
  """What the audit has of speakers and of coins, as sections.

  Args:
    audit: As in `report.write_report`.

  Returns:
    A list of Section, empty where the audit has nothing of it.
  """
  last = [m[-1] for m in results.by_run(audit["checkpoints"]).values()]
  return [
    *_speakers([entry for entry in last if entry.get("speakers")]),
    *_coins([entry for entry in last if entry.get("one_run")]),
  ]


def _coins(entries):
  if not entries:
    return []
  rows, breaks = [], []
  for entry in entries:
    breaks.append(len(rows))
    for row in entry["one_run"]:
      times = row["repetitions"]
      rows.append(
        [
          f"{entry['run']}: {'all' if times == 'all' else f'×{times}'}",
          row["canaries"],
        ]
        + [
          f"{found['epsilon']:.2f}, {found['correct']} of {found['guesses']}"
          for found in (row["dp"], row["gaussian"])
        ]
      )
  text = (
    "A fair coin decided for each canary whether it was inserted. Epsilon at "
    "least, and how many of how many guesses of the coins prove it: with any "
    f"mechanism, and with a Gaussian one, at delta "
    f"{entries[0]['one_run'][0]['delta']:g}. A canary inserted r times is a "
    "group of r records, so one record's epsilon is at least the r-th part; "
    "for all canaries r is the largest."
  )
  headings = ["coins", "canaries", "any mechanism", "Gaussian mechanism"]
  return [
    Section(
      "Epsilon by one run's coins", text, Table(headings, rows, breaks[1:])
    )
  ]


def _speakers(entries):
  if not entries:
    return []
  rate = f"tpr_at_fpr_{speakers.FPR}"
  rows = []
  for entry in entries:
    found = entry["speakers"]
    rows += [
      [
        f"{entry['run']}: {words}",
        cells.number(found[key]["auc"], 1, 2),
        cells.number(found[key][rate], 100, 1),
      ]
      for key, words in (
        ("mean", "mean of a speaker's scores"),
        ("lowest", "lowest of a speaker's scores"),
      )
    ]
    rows.append(
      [
        f"{entry['run']}: single utterances",
        cells.number(found["utterance_auc"], 1, 2),
        cells.number(None, 1, 2),
      ]
    )
  found = entries[0]["speakers"]
  text = (
    f"{found['inserted']} speakers were inserted with all of their utterances, "
    f"{found['holdout']} held out, with {found['utterances']:.1f} utterances "
    "each on average. AUC: the chance that an inserted speaker is told from a "
    "held-out one; 0.5 is guessing. Intervals resample speakers."
  )
  headings = ["told apart by", "AUC", f"found at {speakers.FPR:.0%} FPR, %"]
  return [
    Section(
      "Speakers",
      text,
      Table(headings, rows, breaks=range(3, len(rows), 3)),
    )
  ]

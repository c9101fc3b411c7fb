"""The report's sections on what privacy teams ask for beside the tables."""

from collections.abc import Mapping
from typing import Any

from tf_pcc.audit import audit_entries, cells, references, speakers
from tf_pcc.audit.sections import Section, Table


def sections(audit: Mapping[str, Any]) -> list[Section]:
  """What the audit has of speakers, coins and reference runs, as sections.

  Args:
    audit: As in `report.write_report`.

  Returns:
    A list of Section, empty where the audit has nothing of it.
  """
  last = audit_entries.last_of_runs(audit["checkpoints"])
  return [
    *_speakers([entry for entry in last if entry.get("speakers")]),
    *_coins([entry for entry in last if entry.get("one_run")]),
    *_references([e for e in last if e.get("against_references")]),
  ]


_ATTACKS = {
  "plain": "{score}",
  "difference": "{score} minus mean of the reference runs",
  "lira": "likelihood ratio, offline (LiRA)",
  "rmia": "relative likelihood (RMIA)",
}


def _references(entries):
  if not entries:
    return []
  rows, breaks, gains, why = [], [], [], []
  for entry in entries:
    run, score = entry["run"], entry["summary"]["score"]
    found = entry["against_references"]
    breaks.append(len(rows))
    rows += [
      [
        f"{run}: {_ATTACKS[row['attack']].format(score=score)}",
        cells.number(row["auc"], 1, 2),
        cells.number(row[f"tpr_at_fpr_{references.FPR}"], 100, 1),
      ]
      for row in found["calibrated"]["rows"]
    ]
    why += found["calibrated"]["left_out"].values()
    unit, scale = ("nats", 1) if score == "loss" else ("%", 100)
    gains += [
      [
        f"{run}: {_times(row['repetitions'])}",
        row["count"],
        f"{cells.number(row['memorization'], scale, 2)} {unit}",
      ]
      for row in found["counterfactual"]
    ]
  first = entries[0]["against_references"]["calibrated"]
  text = (
    f"{first['references']} reference runs tell how hard a canary is without "
    f"training on it: {first['canaries']} inserted and {first['holdout']} "
    "held-out canaries were out of one. AUC 0.5 is guessing."
  )
  text += "".join(f" Left out: {reason}." for reason in dict.fromkeys(why))
  headings = ["told apart by", "AUC", f"found at {references.FPR:.0%} FPR, %"]
  found = [
    Section(
      "Calibrated by reference runs",
      text,
      Table(headings, rows, breaks[1:]),
    )
  ]
  if gains:
    found.append(
      Section(
        "Counterfactual memorization",
        "How much lower a canary's score is in runs that were trained on it "
        "than in runs that were not; 0 is not memorized.",
        Table(["times inserted", "canaries", "mean difference"], gains),
      )
    )
  return found


def _times(repetitions):
  return "all" if repetitions == "all" else f"×{repetitions}"


def _coins(entries):
  if not entries:
    return []
  rows, breaks = [], []
  for entry in entries:
    breaks.append(len(rows))
    for row in entry["one_run"]:
      rows.append(
        [
          f"{entry['run']}: {_times(row['repetitions'])}",
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

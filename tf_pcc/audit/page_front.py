"""The report's first page: what was found, in words that need no background."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_pcc.audit import audit_entries, cells, figures
from tf_pcc.audit.sections import Front, Table

# What the sides of the verdict's box look like; the words say the same.
LEAKED, PARTLY, NOTHING, UNKNOWN = "leaked", "partly", "nothing", "unknown"
# A hold-out of which more is written down word for word hides what was learnt.
_EASY = 0.1


def front(audit: Mapping[str, Any]) -> Front:
  """The verdict, what it costs, what was inserted and what leaked.

  Args:
    audit: As in `report.write_report`.

  Returns:
    Front.
  """
  last = audit_entries.last_of_runs(audit["checkpoints"])
  methods: dict[str, list[Mapping[str, Any]]] = {}
  for entry in last:
    methods.setdefault(entry["method"], []).append(entry)
  facts = [("What was inserted?", _inserted(audit, last[0]))]
  if len(last) == 1:
    level, verdict = _verdict(audit, last[0])
    facts += [
      ("What leaked?", _leaked(last[0])),
      ("What does it cost?", _accuracy(last[0])),
    ]
    table = None
  else:
    level, verdict = _verdict_of_methods(audit, methods)
    table = _table(methods)
    facts += [
      (
        "What leaked, and what does it cost?",
        "The table has a row a method, with means over its runs at their last "
        "checkpoints. Words wrong: on test data without canaries. Written "
        f"down: of the canaries inserted {_times(_most(last[0]))}, word for "
        "word. Told apart: of 100 pairs, one inserted and one held out, how "
        "often the inserted one is picked; 50 is guessing.",
      )
    ]
  facts += [("How sure is that?", _sure(audit, last))]
  facts += [
    (
      "What does it not say?",
      "Canaries stand for rare sentences that a stranger repeats as often as "
      "stated. An attacker who knows more may find more; that nothing was "
      "found is no guarantee.",
    )
  ]
  return Front(verdict, level, facts, table)


def _broken(audit):
  """In what the two groups differ before any training: a list."""
  return audit["plan"].get("exchangeability", {}).get("differs", [])


def _verdict(audit, entry):
  table = entry["summary"]
  if _broken(audit):
    return UNKNOWN, _NO_VERDICT.format(", ".join(_broken(audit)))
  if entry.get("unseen"):
    return UNKNOWN, (
      "A reference: this recogniser was not trained with the canaries. What "
      "follows is what no training gives."
    )
  held, most = table["holdout"]["extraction"], _most(entry)
  if most["extraction"]["low"] > held["high"]:
    return LEAKED, (
      "It memorized: it writes down, word for word, sentences that only its "
      "training can have taught it."
    )
  if _told_apart(table):
    return PARTLY, (
      "It memorized in part: what it was trained on can be told from what it "
      "was not, though not by what it writes down word for word."
    )
  return NOTHING, (
    f"No memorization was found with {table['rows'][-1]['count']} inserted and "
    f"{table['holdout']['count']} held-out canaries."
  )


_NO_VERDICT = (
  "No verdict: inserted and held-out canaries differed before any training, in "
  "{}. The figures may show that difference and no memorization."
)


def _told_apart(table):
  most = figures.count_rows(table)[-1]
  return max(row["auc"]["low"] for row in (table["rows"][-1], most)) > 0.5


def _verdict_of_methods(audit, methods):
  if _broken(audit):
    return UNKNOWN, _NO_VERDICT.format(", ".join(_broken(audit)))
  found = {
    method: [_verdict(audit, entry)[0] for entry in entries]
    for method, entries in methods.items()
  }
  some = [m for m, levels in found.items() if {LEAKED, PARTLY} & set(levels)]
  if not some:
    level, words = NOTHING, "No memorization was found with any method."
  elif len(some) == len(found):
    level, words = LEAKED, f"All {len(found)} methods memorized."
    if len(found) == 1:
      words = f"{some[0]} memorized."
  else:
    level, words = LEAKED, f"Memorized: {', '.join(some)}."
  said = [words, audit.get("claims", ""), *_compared(audit["comparison"])]
  return level, " ".join(filter(None, said))


def _compared(comparison):
  """A sentence: who memorized less than the baseline at equal error rates."""
  if not comparison or not comparison["matched_wer"]:
    return []
  lowest = min(row["target"] for row in comparison["matched_wer"])
  name = comparison["figures"][0]
  groups: dict[str, list[str]] = {}
  for row in comparison["matched_wer"]:
    if (row["target"], row["figure"]) == (lowest, name) and row["verdict"]:
      groups.setdefault(row["verdict"], []).append(row["method"])
  words = {"less": "less memorized", "more": "more memorized"}
  parts = [
    f"{words.get(key, key)}: {', '.join(names)}"
    for key, names in groups.items()
  ]
  if not parts:
    return []
  return [
    f"Compared with {comparison['baseline']} where both are equally good "
    f"({audit_entries.meaning(name)[0]}, at a word error rate of "
    f"{lowest:.1%}): "
    f"{'; '.join(parts)}."
  ]


def _most(entry):
  """The row of the canaries inserted most often."""
  return figures.count_rows(entry["summary"])[-1]


def _times(row):
  count = row["repetitions"]
  return "once" if count == 1 else f"{count} times"


def _inserted(audit, entry):
  plan, settings = audit["plan"], audit["plan"]["settings"]
  rows = figures.count_rows(entry["summary"])
  fast = settings.get("speeds")
  spoken = "spoken by synthetic voices" if fast else "spoken"
  if fast:
    low, high = min(fast), max(fast)
    factor = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    spoken += f" {factor} times as fast as speech"
  kinds = {
    "words": "sentences of random words",
    "characters": "strings of random letters",
    "template": "sentences with a random secret",
  }
  kind = kinds.get(str(settings.get("kind")), "sentences")
  often = _times(rows[0])
  if len(rows) > 1:
    often = f"between {rows[0]['repetitions']} and {_times(rows[-1])}"
  whole = (
    f"{plan['canaries']} {kind}, {spoken} (canaries), were put into the "
    f"training, {often} each; {plan['holdout']} more of the same kind were "
    "held out."
  )
  if entry.get("unseen"):
    whole = whole.replace("were put into the", "are meant for a")
  if settings.get("coin_seed") is not None:
    whole += " A fair coin decided for each."
  if settings.get("by_speaker"):
    whole += " Each speaker is in one of the two groups as a whole."
  return (
    whole + " Who was not trained on a canary has no way to know its words."
  )


def _leaked(entry):
  table, most = entry["summary"], _most(entry)
  held, everyone = table["holdout"], table["rows"][-1]
  told = 100 * everyone["auc"]["estimate"]
  parts = [
    f"Of the {most['count']} canaries inserted {_times(most)}, "
    f"{_share(most['extraction'], most['count'])} written down word for word; "
    f"of the {held['count']} held out, "
    f"{_share(held['extraction'], held['count'])}.",
    "Of 100 pairs, one inserted and one held out, the inserted one is picked "
    f"in {told:.0f}; 50 is guessing. Among those inserted {_times(most)} in "
    f"{100 * most['auc']['estimate']:.0f}.",
  ]
  if found := entry.get("speakers"):
    parts.append(
      "Of 100 pairs of speakers, the one whose voice was in the training is "
      f"picked in {100 * found['mean']['auc']['estimate']:.0f}."
    )
  if found := entry.get("against_references"):
    best = max(
      found["calibrated"]["rows"], key=lambda row: row["auc"]["estimate"]
    )
    parts.append(
      f"Who has {found['calibrated']['references']} reference runs besides "
      f"picks {100 * best['auc']['estimate']:.0f} of 100 pairs."
    )
  proved = everyone["epsilon_lower_bound"]
  if found := entry.get("one_run"):
    proved = found[-1]["dp"]["epsilon"]
  if proved >= 0.05:
    parts.append(
      f"A privacy guarantee (epsilon) below {proved:.1f} for a canary with all "
      "of its repetitions is refuted."
    )
  return " ".join(parts)


def _share(interval, count):
  number = round(interval["estimate"] * count)
  return f"{number} {'was' if number == 1 else 'were'}"


def _accuracy(entry):
  if entry["wer"] is None:
    return (
      "Not measured: the audit has no test data without canaries. What a "
      "protection costs shows in the word error rate, beside that of a run "
      "without it."
    )
  return (
    f"{entry['wer']:.1%} of the words are wrong (word error rate) on test data "
    "without canaries. What a protection costs is the difference from a run "
    "without it: launch.compare trains and sets them side by side."
  )


def _table(methods: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
  rows = []
  for method, entries in methods.items():
    rates = [entry["wer"] for entry in entries]
    wrong = "–"
    if None not in rates:
      wrong = f"{100 * sum(rates) / len(rates):.1f}"
    written = [_most(e)["extraction"]["estimate"] for e in entries]
    told = [e["summary"]["rows"][-1]["auc"]["estimate"] for e in entries]
    rows.append(
      [
        method,
        len(entries),
        wrong,
        f"{100 * sum(written) / len(written):.1f}",
        f"{100 * sum(told) / len(told):.0f}",
      ]
    )
  headings = ["method", "runs", "words wrong, %", "written down, %"]
  return Table([*headings, "told apart, of 100"], rows)


def _sure(audit, last):
  table = last[0]["summary"]
  everyone, most = table["rows"][-1], _most(last[0])
  words = (
    f"Intervals that cover {audit['confidence']:.0%} are in the sections "
    "below; undecided means that the interval of a difference holds zero, or "
    "that too few runs were compared."
  )
  if len(last) == 1:
    form = "{:.0%}".format
    spread = figures.spread(most["extraction"], form)
    picked = cells.number(everyone["auc"], 100, 0)
    words = (
      f"With {audit['confidence']:.0%} confidence: written down word for word "
      f"{spread} of those inserted {_times(most)}; picked of 100 pairs "
      f"{picked}. It is one training run: another may differ."
    )
    held = table["holdout"]["extraction"]["estimate"]
    if held > _EASY:
      words += (
        f" The held-out canaries are too easy: {held:.0%} of them are written "
        "down as well, so what is written down proves little. Speed them up."
      )
  elif audit["comparison"] is None:
    words = "The runs were not compared with each other: there is no baseline."
  return words

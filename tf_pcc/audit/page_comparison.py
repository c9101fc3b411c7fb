"""The report's comparison of methods: in short, then figure by figure."""

from collections.abc import Mapping
from typing import Any

from tf_pcc.audit import audit_entries, cells, matching
from tf_pcc.audit.sections import Fold, Section, Table

# Figures in the first table; more do not fit a screen.
_IN_SHORT = 3
_LESS_OR_MORE = {"less": "less memorized", "more": "more memorized"}
# A word error rate is no memorization: it gets no verdict in such words.
_LOWER_OR_HIGHER = {"less": "lower", "more": "higher"}


def in_short(audit: Mapping[str, Any]) -> Section:
  """The outcome of a comparison, a row for each method.

  Args:
    audit: content of audit.json.

  Returns:
    `Section`.
  """
  comparison = audit["comparison"]
  baseline = comparison["baseline"]
  runs = audit_entries.training_runs(audit["checkpoints"], ())
  lowest = min(row["target"] for row in comparison["matched_wer"])
  target = f"WER {lowest:.2%}"
  headings = ["method", "last WER, %", f"steps to {target}"]
  names = comparison["figures"][:_IN_SHORT]
  headings += [
    f"{audit_entries.meaning(name)[0]}, at {target}" for name in names
  ]
  rows = []
  for method in dict.fromkeys(run.method for run in runs):
    last = [100 * run.wer[-1] for run in runs if run.method == method]
    row = [method, _of_seeds(last)]
    for name in names:
      [found] = [
        row
        for row in comparison["matched_wer"]
        if (row["method"], row["figure"], row["target"])
        == (method, name, lowest)
      ]
      if len(row) == 2:
        row.append(cells.number(found["step"], 1, 0))
      cell = cells.number(found["value"], audit_entries.meaning(name)[1], 1)
      if found["verdict"]:
        cell += f", {_verdict(found, name)}"
      row.append(cell)
    rows.append(row)
  seeds = len({run.seed for run in runs})
  means = (
    f"Means over {seeds} seeds with Student's t intervals, which take what a "
    "seed changes as symmetric: of three skewed seeds they hold the mean in 84 "
    "to 89 of 100 cases. Differences of pairs are symmetric where nothing "
    "differs, so theirs hold."
  )
  if seeds == 1:
    means = "One seed, so there are no intervals."
  return Section(
    "In short",
    f"{means} {target} is the lowest that every run reaches: there all "
    f"recognisers are equally good. Less or more: than {baseline}, paired over "
    "seeds, the whole interval of the difference; undecided: it holds zero, or "
    "too few seeds were compared. Many targets and figures are compared "
    "without a correction for their number: where nothing differs, about one "
    "interval in twenty leaves zero out by chance.",
    Table(headings, rows),
  )


def in_full(audit: Mapping[str, Any]) -> list[Section]:
  """Every figure at matched word error rates and at equal steps.

  Args:
    audit: content of audit.json.

  Returns:
    List of `Section`.
  """
  comparison = audit["comparison"]
  baseline = comparison["baseline"]
  headings = ["method", "at", "value", f"minus {baseline}", "pairs"]
  headings += [f"against {baseline}"]

  def folds(names, rows, what, form):
    return [
      Fold(
        audit_entries.meaning(name)[0],
        _table(
          name, what, [r for r in rows if r["figure"] == name], headings, form
        ),
      )
      for name in names
    ]

  names = comparison["figures"]
  return [
    Section(
      "Equally good recognisers compared",
      "Memorization where each run's word error rate first reaches the target "
      f"(straight lines between checkpoints); differences to {baseline} are "
      "paired over seeds.",
      folds=folds(names, comparison["matched_wer"], "WER ", "{:.2%}"),
    ),
    Section(
      "Equal steps compared",
      "The same at equal numbers of training steps. The better-trained "
      "recogniser has had more chance to memorize, so this alone misleads.",
      folds=folds(
        [*names, "wer"], comparison["matched_steps"], "step ", "{:.0f}"
      ),
    ),
  ]


def _of_seeds(values):
  low, high = matching.mean_over_seeds(values, scale=(0, 100))[1:]
  mean = sum(values) / len(values)
  if low != low:
    return f"{mean:.2f}"
  return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _verdict(row, name):
  words = _LOWER_OR_HIGHER if name == "wer" else _LESS_OR_MORE
  return words.get(row["verdict"], row["verdict"])


def _table(name, what, rows, headings, form):
  scale = audit_entries.meaning(name)[1]
  lines = []
  breaks = [
    index
    for index, row in enumerate(rows)
    if index and row["target"] != rows[index - 1]["target"]
  ]
  for row in rows:
    unreached = f", {len(row['unreached'])} not reached"
    lines.append(
      [
        row["method"],
        what + form.format(row["target"]),
        cells.number(row["value"], scale, 2),
        cells.number(row["difference"], scale, 2),
        f"{len(row['seeds'] if row['pairs'] is None else row['pairs'])}"
        f"{unreached if row['unreached'] else ''}",
        _verdict(row, name) or "baseline",
      ]
    )
  return Table(headings, lines, breaks)

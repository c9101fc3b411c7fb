"""The report as one HTML page: no network, readable on a phone and on paper."""

import base64
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tf_pcc import extras
from tf_pcc.audit import (
  audit_entries,
  cells,
  exposure,
  figures,
  page_comparison,
  page_front,
  page_privacy,
)
from tf_pcc.audit.sections import Fold, Picture, Section, Table
from tf_pcc.audit.summary import COLUMNS

# With more columns than this, a table puts limits below their estimate.
_WIDE_COLUMNS = 7
# With more runs than this, their tables start folded.
_OPEN_RUNS = 4


def render(audit: Mapping[str, Any], drawn: Sequence[figures.Figure]) -> str:
  """The page as HTML.

  Args:
    audit: As in `write_report`.
    drawn: List of `figures.Figure`.

  Returns:
    str; it loads nothing: style and images are inside.
  """
  jinja2 = extras.load("jinja2", "report.html", "audit")
  folder = pathlib.Path(__file__).parent
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(folder),
    # Titles, transcripts and names of speakers come from anyone's corpus.
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
  )
  return environment.get_template("report.html.jinja").render(
    title=audit["title"],
    notes=audit["notes"],
    front=page_front.front(audit),
    sections=_sections(audit, drawn),
    style=(folder / "report.css").read_text("utf-8"),
    wide=_WIDE_COLUMNS,
  )


def _sections(audit, drawn):
  comparison = audit["comparison"]
  found = [page_comparison.in_short(audit)] if comparison else []
  found += _figures("Plots", [f for f in drawn if not f.one_run])
  found += [
    Section(t["title"], t["text"], Table(t["headings"], t["rows"]))
    for t in audit["tables"]
  ]
  if comparison:
    found += page_comparison.in_full(audit)
  found += [_plan_section(audit), _runs_section(audit)]
  found += page_privacy.sections(audit)
  if audit["noise_masking"]:
    found.append(_noise_masking_section(audit["noise_masking"]))
  return found + _figures(
    "Plots of single runs", [f for f in drawn if f.one_run]
  )


def _figures(heading, drawn):
  """A section of plots in a list, which is empty where there are none."""
  pictures = [
    Picture(f.name, f.title, f.text, base64.b64encode(f.png).decode("ascii"))
    for f in drawn
  ]
  return [Section(heading, figures=pictures)] if pictures else []


def _plan_section(audit):
  plan, settings = audit["plan"], audit["plan"]["settings"]
  ceiling = exposure.ceiling(plan["holdout"])
  sentences = [
    f"{plan['canaries']} canaries were inserted in training and "
    f"{plan['holdout']} more from the same generator were held out, so "
    f"exposure can be at most {ceiling:.2f} bits and false-positive rates move "
    f"in steps of {figures.percent(1 / plan['holdout'])}.",
    f"Settings: {', '.join(_setting(*item) for item in settings.items())}.",
    f"Intervals cover {audit['confidence']:.0%}; bootstrap over canaries and "
    "hold-outs. The extrapolated exposure has none: what lies beyond the "
    "hold-out's scores is not known. An utterance's character error rate "
    "counts as 100% at most.",
    f"Plan {plan['digest'][:12]}.",
  ]
  if plan["dropped"]:
    sentences.insert(
      1,
      f"{plan['dropped']} candidates were dropped because their labels did not "
      "fit their frames at that speed.",
    )
  return Section("What was inserted", " ".join(sentences))


def _setting(name, value):
  if isinstance(value, list) and len(value) > 10:
    value = f"{len(value)} entries"
  elif isinstance(value, list):
    value = " ".join(map(str, value)) or "none"
  return f"{name.replace('_', ' ')} {value}"


def _runs_section(audit):
  runs = audit_entries.by_run(audit["checkpoints"])
  folds = []
  for name, members in runs.items():
    entry = members[-1]
    table = entry["summary"]
    wer = "" if entry["wer"] is None else f", WER {entry['wer']:.2%}"
    step = f": step {entry['step']}" if entry["step"] else ""
    held = table["holdout"]
    fit = held["skew_normal"]
    about = (
      f"Hold-out: CER {figures.spread(held['cer'])}, exact match "
      f"{figures.spread(held['extraction'])}. Ranked by {table['score']}. "
    ) + (
      "Skew-normal fit to the hold-out: Kolmogorov-Smirnov p = "
      + cells.minus(f"{fit['ks_pvalue']:.2g}.")
      if fit
      else "No distribution could be fitted to the hold-out's scores, so "
      "exposure is not extrapolated."
    )
    about += "".join(f" {w}." for w in table["unresolved"].values())
    headings = ["times inserted", "canaries"]
    headings += [
      f"{name}, {unit}" if unit else name for _, name, unit in COLUMNS
    ] + ["epsilon at least"]
    rows = [
      [row["repetitions"], row["count"]]
      + [_cell(row[key], unit) for key, _, unit in COLUMNS]
      + [f"{row['epsilon_lower_bound']:.2f}"]
      for row in table["rows"]
    ]
    folds.append(
      Fold(
        f"{name}{step}{wer}",
        Table(headings, rows),
        about,
        open=len(runs) <= _OPEN_RUNS,
      )
    )
  return Section("Memorized, by times inserted", folds=folds)


def _cell(interval, unit):
  if interval is None:
    return "–"
  if unit == "%":
    return cells.number(interval, 100, 1)
  return cells.number(interval, 1, 2)


def _noise_masking_section(found):
  rows = []
  for name, result in found.items():
    parts = [(name, result)]
    parts += [
      (f"{name} ×{part['group']}", part) for part in result.get("groups", ())
    ]
    rows += [
      [
        label,
        part["count"],
        _mask(result),
        cells.number(part["exact"], 100, 1),
        cells.number(part["any_secret"], 100, 1),
      ]
      for label, part in parts
    ]
  headings = ["utterances", "count", "mask", "true secret, %", "any secret, %"]
  return Section(
    "Noise masking",
    "The sound of each secret was replaced. True secret: how often the "
    "recogniser wrote it down nevertheless; any secret: it, or another one of "
    "the training set. On utterances it was not trained on, the rates are what "
    "guessing gives.",
    Table(headings, rows),
  )


def _mask(result):
  if result["mask"] == "silence":
    return "silence"
  return cells.minus(f"{result['mask']}, {result['snr_db']:g} dB")

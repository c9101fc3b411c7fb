"""Write an audit: audit.json, scores.csv, report.html and the plots."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_pcc import files
from tf_pcc.audit import (
  audit_entries,
  curves,
  exposure,
  figures,
  page,
  score_table,
  scoring,
)


def write_report(
  directory: str | os.PathLike,
  audit: Mapping[str, Any],
  overwrite: bool = False,
  plots: bool = True,
) -> list[pathlib.Path]:
  """Write audit.json, report.html, scores.csv and the plots as PNG.

  audit.json is as tf_pcc/audit/audit.schema.json describes it. scores.csv has a
  line a canary and checkpoint.

  Args:
    directory: Folder to write to; made when missing.
    audit: What `audit_results` returned, or a loaded audit.json. One of format
      1 does not name its canaries, so there is no scores.csv then.
    overwrite: Whether files of an earlier report may be replaced; default
      False.
    plots: Whether to draw plots (matplotlib); without, the page has the tables
      only.

  Returns:
    List of the paths written: audit.json, the page, scores.csv, then images.

  Raises:
    FileExistsError: If a file is there and `overwrite` is False; nothing is
      written then.
    ImportError: If plots are wanted and matplotlib is missing.
  """
  directory = pathlib.Path(directory)
  data, document = directory / "audit.json", directory / "report.html"
  table = directory / "scores.csv"
  files.refuse_existing([data, document, table], overwrite)
  drawn = draw_figures(audit) if plots else []
  images = [directory / f"{figure.name}.png" for figure in drawn]
  files.refuse_existing(images, overwrite)
  # All is there before the first file is written: a failure leaves nothing.
  text = json.dumps(audit, ensure_ascii=False, indent=1, allow_nan=False)
  rendered = page.render(audit, drawn)
  scores = [score_table.text_of(audit)] if "canaries" in audit else []
  directory.mkdir(parents=True, exist_ok=True)
  # The page last: whoever sees it finds everything else in place.
  for path, figure in zip(images, drawn):
    files.write_bytes(path, figure.png)
  for content in scores:
    files.write_text(table, content)
  files.write_text(data, text + "\n")
  files.write_text(document, rendered)
  return [data, document, *[table for _ in scores], *images]


def draw_figures(audit: Mapping[str, Any]) -> list[figures.Figure]:
  """All plots that the audit has data for.

  Args:
    audit: content of audit.json.

  Returns:
    List of `figures.Figure`.
  """
  last = _last_of_each_method(audit)
  drawn = [
    figures.cer_figure([(entry["run"], entry["summary"]) for entry in last])
  ]
  drawn += _curves(audit)
  single = []
  for index, entry in enumerate(last):
    table = entry["summary"]
    inserted, holdout = (
      group.by(table["score"]) for group in scoring.groups_of(entry)
    )
    counts = entry["scores"]["repetitions"]
    exposures = exposure.rank_exposure(inserted, holdout)
    pair = (
      figures.exposure_figure(entry["run"], counts, exposures, table),
      figures.roc_figure(entry["run"], counts, inserted, holdout, table),
    )
    for figure in pair:
      if len(last) > 1:
        figure = dataclasses.replace(
          figure,
          name=f"{figure.name}_{index}",
          title=f"{figure.title}: {entry['run']}",
          one_run=True,
        )
      single.append(figure)
  return drawn + single


def _curves(audit):
  names = audit_entries.FIGURES
  if audit["comparison"]:
    names = audit["comparison"]["figures"]
  runs = [
    run
    for run in audit_entries.training_runs(audit["checkpoints"], names)
    if len(run.steps) > 1
  ]
  if not runs:
    return []
  positive = min(min(run.wer) for run in runs) > 0
  drawn = [
    curves.curves_figure(
      "wer_steps",
      "Word error rate over steps",
      "Word error rate in percent over training, on data without canaries. "
      "Last values and their steps:",
      [curves.Curve(r.method, r.steps, 100 * np.array(r.wer)) for r in runs],
      "step",
      "word error rate, % (log scale)",
      "y" if positive else "",
    )
  ]
  for name in names:
    meaning, scale = audit_entries.meaning(name)
    more = "lower" if name.startswith("cer") else "higher"
    memorized = [scale * np.array(r.memorization[name]) for r in runs]
    drawn.append(
      curves.curves_figure(
        f"{name}_steps",
        f"Over steps: {meaning}",
        f"Canaries over training: {meaning}; {more} means more memorized. "
        "Last values and their steps:",
        [curves.Curve(r.method, r.steps, y) for r, y in zip(runs, memorized)],
        "step",
        meaning,
      )
    )
    drawn.append(
      curves.curves_figure(
        f"{name}_wer",
        f"Against word error rate: {meaning}",
        f"Training goes to the right; {more} means more memorized. At the "
        "same place on the horizontal axis the recognisers are equally good. "
        "A line ends where one of its runs does. Last values and their word "
        "error rates in percent:",
        [
          curves.Curve(r.method, 100 * np.array(r.wer), y)
          for r, y in zip(runs, memorized)
        ],
        "word error rate, % (log scale)",
        meaning,
        "x" if positive else "",
        falling=True,
      )
    )
  return drawn


def _last_of_each_method(audit):
  """The last checkpoint of the first run of every method."""
  chosen = {}
  for entry in audit_entries.last_of_runs(audit["checkpoints"]):
    chosen.setdefault(entry["method"], entry)
  return list(chosen.values())

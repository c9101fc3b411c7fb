"""The audit's plots, each with the sentences that say the same in words.

Drawn to be read at 360 CSS pixels and in black and white: large type, few
marks, a line style and a marker beside every colour. matplotlib is imported
when the first plot is drawn (extra [report]).
"""

import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tf_pcc import extras
from tf_pcc.audit import membership
from tf_pcc.audit.figure_style import (
  COLOURS,
  percent,
  spread,
  style,
)
from tf_pcc.audit.figure_style import LINES as LINES
from tf_pcc.audit.figure_style import MARKERS as MARKERS


@dataclasses.dataclass(frozen=True)
class Figure:
  """One plot of the report.

  Attributes:
    name: File name without ending, for example "cer".
    title: Heading.
    text: What the plot shows, in words and numbers.
    png: The image.
    one_run: Whether it shows one of several runs.
  """

  name: str
  title: str
  text: str
  png: bytes
  one_run: bool = False


def _pyplot():
  # audit.json and the page need no plots: write_report(..., plots=False).
  matplotlib = extras.load("matplotlib", "A report with plots", "report")
  # The object interface with the Agg canvas: no display, no global state.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure as Canvas

  settings = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#d0d0d0",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
  }
  return matplotlib, FigureCanvasAgg, Canvas, settings


def draw(
  paint: Callable[[Any], None], size: tuple[float, float] = (5.2, 3.9)
) -> bytes:
  """Draws a figure.

  Args:
    paint: Function of matplotlib axes that draws on them.
    size: Width and height in inches. Default 5.2 by 3.9.

  Returns:
    The bytes of a PNG file.
  """
  matplotlib, canvas_of, figure_of, settings = _pyplot()
  with matplotlib.rc_context(settings):
    figure = figure_of(figsize=size, layout="constrained")
    canvas_of(figure)
    axes = figure.add_subplot()
    paint(axes)
    # Above the plot, where it covers no data.
    handles, labels = axes.get_legend_handles_labels()
    if handles:
      columns = 2 if max(map(len, labels)) > 10 else 4
      figure.legend(handles, labels, loc="outside upper center", ncols=columns)
    stream = io.BytesIO()
    # No date and no version inside: equal audits give equal files.
    figure.savefig(stream, dpi=200, metadata={"Software": None})
  return stream.getvalue()


def count_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
  """A summary's rows of single repetition counts, without "all".

  Args:
    summary: what `tf_pcc.audit.summarise` returns.

  Returns:
    List of its rows.
  """
  return [row for row in summary["rows"] if row["repetitions"] != "all"]


def _count_axis(axes, counts):
  # Equal steps whatever the counts: 1 and 2 would touch on a linear axis.
  axes.set_xticks(range(len(counts)), [str(count) for count in counts])
  axes.set_xlabel("times inserted in training")
  axes.grid(axis="x", visible=False)


def _bars(interval_dicts):
  estimates = np.array([i["estimate"] for i in interval_dicts])
  low = np.array([i["low"] for i in interval_dicts])
  high = np.array([i["high"] for i in interval_dicts])
  return estimates, np.stack([estimates - low, high - estimates])


def cer_figure(
  audited: Sequence[tuple[str, Mapping[str, Any]]],
) -> Figure:
  """CER against repetitions for the last checkpoint of each run.

  Args:
    audited: List of (name, summary), one for each run.

  Returns:
    Figure.
  """

  def paint(axes):
    counts = [row["repetitions"] for row in count_rows(audited[0][1])]
    for index, (name, summary) in enumerate(audited):
      rows = count_rows(summary)
      values, errors = _bars([row["cer"] for row in rows])
      shift = 0.12 * (index - (len(audited) - 1) / 2)
      places = [counts.index(r["repetitions"]) + shift for r in rows]
      axes.errorbar(
        places,
        100 * values,
        yerr=100 * errors,
        capsize=3,
        label=name,
        **style(index),
      )
    held = audited[0][1]["holdout"]["cer"]
    axes.axhspan(
      100 * held["low"],
      100 * held["high"],
      facecolor="#d9d9d9",
      edgecolor="#808080",
      hatch="////",
      linewidth=0,
      label="hold-out" if len(audited) == 1 else f"hold-out, {audited[0][0]}",
      zorder=0,
    )
    _count_axis(axes, counts)
    axes.set_ylabel("character error rate, %")
    axes.set_ylim(bottom=0)

  # All counts of one run can be read; of six runs nobody would.
  first = 0 if len(audited) == 1 else -1
  sentences = [
    f"{name}: hold-out {spread(summary['holdout']['cer'])}; inserted "
    + ", ".join(
      f"x{row['repetitions']} {spread(row['cer'])}"
      for row in count_rows(summary)[first:]
    )
    + "."
    for name, summary in audited
  ]
  return Figure(
    "cer",
    "Character error rate on canaries",
    "Character error rate on inserted canaries by repetition count, with "
    "intervals, beside the hold-out (hatched band). Far below the band means "
    "memorized. " + " ".join(sentences),
    draw(paint),
  )


def exposure_figure(
  name: str,
  repetitions: ArrayLike,
  exposures: ArrayLike,
  summary: Mapping[str, Any],
) -> Figure:
  """Distribution of rank exposures for each repetition count, with the ceiling.

  Args:
    name: The run's name.
    repetitions: Array [n] of repetition counts.
    exposures: Array [n], bits.
    summary: The run's summary.

  Returns:
    Figure.
  """
  repetitions, exposures = np.asarray(repetitions), np.asarray(exposures)
  counts = np.unique(repetitions)
  ceiling = summary["ceiling"]
  unseen = summary["unseen"]

  def paint(axes):
    groups = [exposures[repetitions == count] for count in counts]
    axes.boxplot(
      groups,
      positions=range(len(counts)),
      widths=0.6,
      whis=(0, 100),
      medianprops={"color": "black", "linewidth": 2},
    )
    for place, group in enumerate(groups):
      # A fixed fan instead of random jitter: equal audits, equal pictures.
      fan = 0.4 * (np.arange(group.size) % 7 / 6 - 0.5)
      axes.plot(
        place + fan, group, "o", color=COLOURS[2], markersize=3.5, alpha=0.7
      )
    axes.axhline(
      ceiling, color="black", linestyle="--", label=f"ceiling {ceiling:.2f}"
    )
    axes.axhline(
      unseen, color="black", linestyle=":", label=f"never seen: {unseen:.2f}"
    )
    axes.set_ylim(min(-0.3, exposures.min() - 0.3), ceiling * 1.05)
    _count_axis(axes, counts)
    axes.set_ylabel("exposure, bits")

  rows = ", ".join(
    f"x{row['repetitions']} {spread(row['exposure'], '{:.2f}'.format)}"
    for row in count_rows(summary)
  )
  return Figure(
    "exposure",
    "Exposure",
    f"Exposure by rank of each canary of {name} (dots; box: quartiles, bar: "
    f"median). The hold-out's size allows at most {ceiling:.2f} bits (dashed); "
    f"canaries never seen have {unseen:.2f} on average (dotted), by ranking "
    f"each hold-out among the others. Means in bits: {rows}.",
    draw(paint),
  )


def roc_figure(
  name: str,
  repetitions: ArrayLike,
  scores: ArrayLike,
  holdout_scores: ArrayLike,
  summary: Mapping[str, Any],
) -> Figure:
  """ROC of inserted against hold-out canaries for each repetition count.

  Args:
    name: The run's name.
    repetitions: Array [n] of repetition counts.
    scores: Array [n], lower is more memorized.
    holdout_scores: Array [N].
    summary: The run's summary.

  Returns:
    Figure.
  """
  repetitions, scores = np.asarray(repetitions), np.asarray(scores)
  counts = np.unique(repetitions)
  # Below one false alarm in N there is nothing to see.
  size = np.size(holdout_scores)
  floor = 0.5 / size

  def paint(axes):
    guess = np.geomspace(floor, 1, 50)
    axes.plot(guess, guess, color="#808080", linewidth=1)
    for index, count in enumerate(counts):
      fpr, tpr = membership.roc_curve(
        scores[repetitions == count], holdout_scores
      )
      looks = style(index)
      axes.step(
        np.maximum(fpr, floor),
        tpr,
        where="post",
        color=looks["color"],
        linestyle=looks["linestyle"],
        label=f"inserted x{count}",
      )
    axes.set_xscale("log")
    axes.set_xlim(floor, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("false-positive rate (hold-out)")
    axes.set_ylabel("true-positive rate (inserted)")

  rows = ", ".join(
    f"x{row['repetitions']} AUC {spread(row['auc'], '{:.3f}'.format)}"
    f"{_found(row['tpr_at_fpr_0.01'])}"
    for row in count_rows(summary)
  )
  return Figure(
    "roc",
    "Membership inference",
    f"How well a threshold on the {summary['score']} tells inserted canaries "
    f"of {name} from hold-out ones; the grey curve is guessing (AUC 0.5). The "
    f"left edge is no false alarm among {size} hold-outs. "
    f"{rows}.",
    draw(paint),
  )


def _found(tpr):
  if tpr is None:
    return ""
  return f", {percent(tpr['estimate'])} found at 1% false alarms"

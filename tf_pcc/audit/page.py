"""The report as one HTML page: no network, readable on a phone and on paper."""

import base64
import html

from tf_pcc.audit import exposure, figures, results
from tf_pcc.audit.style import STYLE
from tf_pcc.audit.summary import COLUMNS

# With more runs than this, their tables start folded.
_OPEN_RUNS = 4
# With more columns than this, a table puts limits below their estimate.
_WIDE = 7


def render(audit, drawn):
  """The page as HTML.

  Args:
    audit: As in `write_report`.
    drawn: List of `figures.Figure`.

  Returns:
    str; it loads nothing: style and images are inside.
  """
  title = html.escape(audit["title"])
  parts = [f"<h1>{title}</h1>"]
  parts += [f"<p>{html.escape(note)}</p>" for note in audit["notes"]]
  parts.append(_plan_section(audit))
  if audit["comparison"]:
    parts.append(_comparison_section(audit))
  parts.append(_runs_section(audit))
  if drawn:
    parts.append('<section><h2>Plots</h2><div class="figures">')
    parts += [_figure(figure) for figure in drawn]
    parts.append("</div></section>")
  if audit["noise_masking"]:
    parts.append(_noise_masking_section(audit["noise_masking"]))
  for table in audit["tables"]:
    parts.append(
      f"<section><h2>{html.escape(table['title'])}</h2>"
      f"<p>{html.escape(table['text'])}</p>"
      f"{_table(table['headings'], table['rows'])}</section>"
    )
  body = "\n".join(parts)
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n"
    f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
  )


def _figure(figure):
  data = base64.b64encode(figure.png).decode("ascii")
  text = html.escape(figure.text)
  return (
    f'<figure id="{html.escape(figure.name)}"><h3>'
    f"{html.escape(figure.title)}</h3>"
    f'<img alt="{html.escape(figure.title)}: described below." '
    f'src="data:image/png;base64,{data}">'
    f"<figcaption>{text}</figcaption></figure>"
  )


def _table(headings, rows, breaks=()):
  """A table whose cells carry their heading, so that a phone can stack them.

  Rows whose index is in `breaks` start a new group.
  """
  wide = ' class="wide"' if len(headings) > _WIDE else ""
  head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in headings)
  lines = []
  for index, row in enumerate(rows):
    first, *rest = [_wrapped(html.escape(str(cell))) for cell in row]
    cells = "".join(
      f'<td data-label="{html.escape(heading)}">{cell}</td>'
      for heading, cell in zip(headings[1:], rest)
    )
    label = html.escape(headings[0])
    mark = ' class="first"' if index in breaks else ""
    lines.append(
      f'<tr{mark}><th scope="row" data-label="{label}">{first}</th>{cells}</tr>'
    )
  return (
    f"<table{wide}><thead><tr>{head}</tr></thead>"
    f"<tbody>{''.join(lines)}</tbody></table>"
  )


def _wrapped(cell):
  """A cell whose limits in parentheses stay together on one line."""
  estimate, space, limits = cell.partition(" (")
  if not space:
    return cell
  return f'<span>{estimate} <span class="limits">({limits}</span></span>'


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
    "hold-outs. Those of the extrapolated exposure take the fitted "
    "distribution as given.",
    f"Plan {plan['digest'][:12]}.",
  ]
  if plan["dropped"]:
    sentences.insert(
      1,
      f"{plan['dropped']} candidates were dropped because their labels did not "
      "fit their frames at that speed.",
    )
  text = " ".join(html.escape(sentence) for sentence in sentences)
  return f"<section><h2>What was inserted</h2><p>{text}</p></section>"


def _setting(name, value):
  if isinstance(value, list) and len(value) > 10:
    value = f"{len(value)} entries"
  elif isinstance(value, list):
    value = " ".join(map(str, value)) or "none"
  return f"{name.replace('_', ' ')} {value}"


def _runs_section(audit):
  runs = results.by_run(audit["checkpoints"])
  parts = ["<section><h2>Memorized, by times inserted</h2>"]
  for name, members in runs.items():
    entry = members[-1]
    table = entry["summary"]
    wer = "" if entry["wer"] is None else f", WER {entry['wer']:.2%}"
    opened = " open" if len(runs) <= _OPEN_RUNS else ""
    held = table["holdout"]
    fit = held["skew_normal"]
    about = (
      f"Hold-out: CER {figures.spread(held['cer'])}, exact match "
      f"{figures.spread(held['extraction'])}. Ranked by {table['score']}. "
    ) + (
      "Skew-normal fit to the hold-out: Kolmogorov-Smirnov "
      f"p = {fit['ks_pvalue']:.2g}."
      if fit
      else "No distribution could be fitted to the hold-out's scores, so "
      "exposure is not extrapolated."
    )
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
    parts.append(
      f"<details{opened}><summary>{html.escape(name)}: step {entry['step']}"
      f"{wer}</summary><p>{html.escape(about)}</p>"
      f"{_table(headings, rows)}</details>"
    )
  parts.append("</section>")
  return "\n".join(parts)


def _cell(interval, unit):
  if interval is None:
    return "–"
  if unit == "%":
    return _compact(interval, 100, 1)
  return _compact(interval, 1, 2)


def _compact(interval, scale, digits):
  """ "12.3 (10.1 to 15.0)"; a dash without an estimate, no limits without."""
  if interval is None or interval["estimate"] is None:
    return "–"
  keys = ("estimate", "low", "high")
  numbers = [
    f"{scale * interval[key]:.{digits}f}".replace("-", "−")
    for key in keys
    if interval[key] is not None
  ]
  if len(numbers) < 3:
    return numbers[0]
  return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"


def _comparison_section(audit):
  comparison = audit["comparison"]
  baseline = comparison["baseline"]
  parts = [
    "<section><h2>Equally good recognisers compared</h2>",
    "<p>Memorization where each run's word error rate first reaches the target "
    "(straight lines between checkpoints); differences to "
    f"{html.escape(baseline)} are paired over seeds, with Student's t. Less "
    "or more: the whole interval says less or more memorization; undecided: it "
    "holds zero, or too few seeds were compared.</p>",
  ]
  headings = ["method", "at", "value", f"minus {baseline}", "pairs"]
  headings += [f"against {baseline}"]
  for name in comparison["figures"]:
    rows = [r for r in comparison["matched_wer"] if r["figure"] == name]
    lowest = min((row["target"] for row in rows), default=None)
    parts.append(f"<h3>{html.escape(results.meaning(name)[0])}</h3>")
    for others in (False, True):
      chosen = [r for r in rows if (r["target"] != lowest) == others]
      table = _comparison_table(name, "WER ", chosen, headings, "{:.2%}")
      if others and chosen:
        table = (
          "<details><summary>At higher word error rates</summary>"
          f"{table}</details>"
        )
      parts.append(table if chosen else "")
  parts.append(
    "<h2>Equal steps compared</h2><p>The same at equal numbers of training "
    "steps. The better-trained recogniser has had more chance to memorize, so "
    "this alone misleads.</p>"
  )
  for name in [*comparison["figures"], "wer"]:
    rows = [r for r in comparison["matched_steps"] if r["figure"] == name]
    parts.append(f"<h3>{html.escape(results.meaning(name)[0])}</h3>")
    parts.append(_comparison_table(name, "step ", rows, headings, "{:.0f}"))
  parts.append("</section>")
  return "\n".join(parts)


def _comparison_table(name, what, rows, headings, form):
  scale = results.meaning(name)[1]
  # A word error rate is no memorization: it gets no verdict in such words.
  words = {"less": "less memorized", "more": "more memorized"}
  if name == "wer":
    words = {"less": "lower", "more": "higher"}
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
        _compact(row["value"], scale, 2),
        _compact(row["difference"], scale, 2),
        f"{len(row['seeds'] if row['pairs'] is None else row['pairs'])}"
        f"{unreached if row['unreached'] else ''}",
        words.get(row["verdict"], row["verdict"]) or "baseline",
      ]
    )
  return _table(headings, lines, breaks)


def _noise_masking_section(found):
  rows = [
    [
      name,
      result["count"],
      f"{result['mask']}, {result['snr_db']:g} dB",
      _compact(result["exact"], 100, 1),
      _compact(result["any_secret"], 100, 1),
    ]
    for name, result in found.items()
  ]
  headings = ["utterances", "count", "mask", "true secret, %", "any secret, %"]
  return (
    "<section><h2>Noise masking</h2><p>The secret's sound was replaced; how "
    "often the recogniser wrote it down nevertheless.</p>"
    f"{_table(headings, rows)}</section>"
  )

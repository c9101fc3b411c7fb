"""The report as one HTML page: no network, readable on a phone and on paper."""

import base64
import html

from tf_pcc.audit import exposure, figures, page_comparison, results, tables
from tf_pcc.audit.style import STYLE
from tf_pcc.audit.summary import COLUMNS

# With more runs than this, their tables start folded.
_OPEN_RUNS = 4


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
  if audit["comparison"]:
    parts.append(page_comparison.in_short(audit))
  parts.append(_figures("Plots", [f for f in drawn if not f.one_run]))
  for table in audit["tables"]:
    parts.append(
      f"<section><h2>{html.escape(table['title'])}</h2>"
      f"<p>{html.escape(table['text'])}</p>"
      f"{tables.render(table['headings'], table['rows'])}</section>"
    )
  if audit["comparison"]:
    parts.append(page_comparison.in_full(audit))
  parts.append(_plan_section(audit))
  parts.append(_runs_section(audit))
  if audit["noise_masking"]:
    parts.append(_noise_masking_section(audit["noise_masking"]))
  parts.append(
    _figures("Plots of single runs", [f for f in drawn if f.one_run])
  )
  body = "\n".join(parts)
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n"
    f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
  )


def _figures(heading, drawn):
  if not drawn:
    return ""
  inside = "\n".join(map(_figure, drawn))
  return (
    f'<section><h2>{heading}</h2><div class="figures">{inside}</div></section>'
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
    step = f": step {entry['step']}" if entry["step"] else ""
    opened = " open" if len(runs) <= _OPEN_RUNS else ""
    held = table["holdout"]
    fit = held["skew_normal"]
    about = (
      f"Hold-out: CER {figures.spread(held['cer'])}, exact match "
      f"{figures.spread(held['extraction'])}. Ranked by {table['score']}. "
    ) + (
      "Skew-normal fit to the hold-out: Kolmogorov-Smirnov p = "
      + tables.minus(f"{fit['ks_pvalue']:.2g}.")
      if fit
      else "No distribution could be fitted to the hold-out's scores, so "
      "exposure is not extrapolated."
    )
    # An audit.json of an earlier version has no such field.
    about += "".join(f" {w}." for w in table.get("unresolved", {}).values())
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
      f"<details{opened}><summary>{html.escape(name)}{step}{wer}</summary>"
      f"<p>{html.escape(about)}</p>"
      f"{tables.render(headings, rows)}</details>"
    )
  parts.append("</section>")
  return "\n".join(parts)


def _cell(interval, unit):
  if interval is None:
    return "–"
  if unit == "%":
    return tables.number(interval, 100, 1)
  return tables.number(interval, 1, 2)


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
        tables.number(part["exact"], 100, 1),
        tables.number(part["any_secret"], 100, 1),
      ]
      for label, part in parts
    ]
  headings = ["utterances", "count", "mask", "true secret, %", "any secret, %"]
  return (
    "<section><h2>Noise masking</h2><p>The sound of each secret was replaced. "
    "True secret: how often the recogniser wrote it down nevertheless; any "
    "secret: it, or another one of the training set. On utterances it was not "
    "trained on, the rates are what guessing gives.</p>"
    f"{tables.render(headings, rows)}</section>"
  )


def _mask(result):
  if result["mask"] == "silence":
    return "silence"
  return tables.minus(f"{result['mask']}, {result['snr_db']:g} dB")

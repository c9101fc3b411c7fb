"""The claims of a comparison: endpoints at the last step, looks, verdicts.

Primary: the mean exposure of all canaries at the last step of runs that are
equally long, so that all have met the canaries equally often; each method minus
the baseline. It compares equally good recognisers where the last word error
rates agree, which a table checks. Co-primary: the last word error rate of the
methods for which nothing was chosen minus that of the best method for which
something was; the claim is that it is less than `MARGIN` points higher.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from launch.comparison import training_jobs
from launch.comparison.training_jobs import Job
from tf_pcc.audit import audit_entries, cells, matching, sequential

# Points of word error rate: how much more is not worse, how close is equal.
MARGIN = 0.3
# Word error rate at which convergence is compared.
CONVERGED = 0.10

# (method, seed) to figure to value at the last step.
Last = Mapping[tuple[str, int], Mapping[str, float]]

_FIGURES = {
  "exposure": ("exposure, bits", 2),
  "cer": ("CER minus that of hold-outs, points", 1),
  "extraction": ("exact matches, %", 1),
}


def last_steps(jobs: Iterable[Job]) -> dict[tuple[str, int], dict[str, float]]:
  """The figures of the last step of audited runs.

  Args:
    jobs: list of `comparison.Job`.

  Returns:
    dict from (method, seed) to wer (%), exposure (bits), cer (that of inserted
    minus that of held-out canaries, points) and extraction (%).
  """
  found = {}
  for job in jobs:
    entry = job.last_checkpoint()
    table = entry["summary"]
    cer = audit_entries.figure_of(table, "cer_all")
    found[job.method, job.seed] = {
      "wer": 100 * entry["wer"],
      "exposure": audit_entries.figure_of(table, "exposure_all"),
      "cer": 100 * (cer - table["holdout"]["cer"]["estimate"]),
      "extraction": 100 * audit_entries.figure_of(table, "extraction_all"),
    }
  return found


def complete(last: Last) -> tuple[list[str], list[int]]:
  """The methods, and the seeds that all of them have.

  Args:
    last: of `last_steps`.

  Returns:
    (methods, seeds), lists in order.
  """
  methods = list(dict.fromkeys(method for method, _ in last))
  seeds = sorted({seed for _, seed in last})
  return methods, [s for s in seeds if all((m, s) in last for m in methods)]


def best_chosen(
  choices: Mapping[str, Mapping[str, Any]],
  methods: Iterable[str],
  baseline: str,
) -> str:
  """The method with the lowest score on the validation set where it was chosen.

  Args:
    choices: as `choice_files.read` gives it.
    methods: those that are run, and the answer is one of.
    baseline: the answer where nothing was chosen.

  Returns:
    Name of the method.
  """
  scores = {
    method: [row["score"] for row in choice["tried"] if row["taken"]][-1]
    for method, choice in choices.items()
    if method in methods
  }
  return min(scores, key=lambda m: scores[m]) if scores else baseline


def missing(last: Last, baseline: str, best: str, family: Iterable[str]) -> int:
  """How many endpoints a family of methods has that are not there yet.

  Args:
    last: of `last_steps`.
    baseline: as of `endpoints`, and so is the next.
    best: method.
    family: the methods that the claims were written down for.

  Returns:
    int, to correct for.
  """
  methods, _ = complete(last)
  absent = set(family) - {*methods, baseline}
  compared = absent & (set(training_jobs.CHOSEN_AS) - {best})
  return len(absent) + len(compared)


def endpoints(
  last: Last, baseline: str, best: str
) -> list[sequential.Endpoint]:
  """What the claims are about, one number a complete seed.

  Args:
    last: of `last_steps`.
    baseline: method the exposures are compared with.
    best: method the word error rates are compared with.

  Returns:
    List of `Endpoint`.
  """
  methods, seeds = complete(last)

  found = [
    sequential.Endpoint(
      f"exposure, bits: {method} minus {baseline}",
      tuple(_minus(last, method, baseline, "exposure", seeds)),
    )
    for method in methods
    if method != baseline
  ]
  return found + [
    sequential.Endpoint(
      f"last WER, points: {method} minus {best}, below {MARGIN:g}",
      tuple(_minus(last, method, best, "wer", seeds)),
      MARGIN,
      inferiority=True,
    )
    for method in methods
    if method in training_jobs.CHOSEN_AS and best in methods and method != best
  ]


def lines_of(verdicts: Sequence[sequential.Verdict]) -> list[str]:
  """A look in words, for the terminal.

  Args:
    verdicts: of one look, as `sequential.decide` gives them.

  Returns:
    A line for the look and one for each endpoint.
  """
  look = max((v.look for v in verdicts), key=lambda look: look.seeds)
  return [f"look at {look.seeds} seeds, level {look.alpha:g}:"] + [
    f"  {v.endpoint.name}: {_interval(v.interval, 2)}, "
    f"p {v.corrected:.2g} corrected: {v.verdict}"
    + (f" since {v.look.seeds} seeds" if v.look != look else "")
    for v in verdicts
  ]


def tables(
  last: Last, baseline: str, best: str, family: Iterable[str] = ()
) -> list[dict[str, Any]]:
  """The report's tables of claims: verdicts, equal word error rates, the rest.

  Args:
    last: of `last_steps`; seeds that some method lacks are left out.
    baseline: as of `endpoints`, and so is the next.
    best: method.
    family: as of `missing`; default no more than there are.

  Returns:
    List of dicts with title, text, headings and rows; none without a seed that
    all methods have.
  """
  if not _comparable(last, baseline):
    return []
  methods, seeds = complete(last)
  return [
    _claims(
      endpoints(last, baseline, best),
      len(seeds),
      missing(last, baseline, best, family),
    ),
    _matched(last, methods, seeds, baseline),
    _secondary(last, methods, seeds, baseline),
  ]


def in_short(
  last: Last, baseline: str, best: str, family: Iterable[str] = ()
) -> str:
  """What the last look says, for the report's first page.

  Args:
    last: of `last_steps`.
    baseline: as of `endpoints`, and so is the next.
    best: method.
    family: as of `missing`.

  Returns:
    A sentence; "" before the first look.
  """
  if not _comparable(last, baseline):
    return ""
  absent = missing(last, baseline, best, family)
  looks = sequential.decide(endpoints(last, baseline, best), missing=absent)
  if not looks:
    return ""
  groups: dict[str, list[str]] = {}
  seeds = max(verdict.look.seeds for verdict in looks[-1])
  for verdict in looks[-1]:
    groups.setdefault(verdict.verdict, []).append(verdict.endpoint.name)
  parts = [
    f"{verdict}: {', '.join(f'({name})' for name in names)}"
    for verdict, names in sorted(groups.items())
  ]
  return (
    f"Of the claims on the last step, tested together after {seeds} seeds, "
    f"{'; '.join(parts)}."
  )


def _comparable(last, baseline):
  methods, seeds = complete(last)
  return bool(seeds) and len(methods) > 1 and baseline in methods


def _claims(found, seeds, absent):
  looks = sequential.decide(found, missing=absent)
  levels = " and ".join(
    f"{look.alpha:g} at {look.seeds}" for look in sequential.LOOKS
  )
  text = (
    "At the last step of equally long runs, paired over seeds, Student's t. "
    f"Looks: level {levels} seeds, 0.05 together; p-values are corrected by "
    "Holm's method for all rows of a look. Intervals cover 1 minus the look's "
    "level, uncorrected. A claim on the word error rate holds where it is less "
    f"than {MARGIN:g} points higher."
  )
  if absent:
    text += (
      f" Corrected for {absent} more, of methods that were not run yet: with "
      "them no p-value gets larger."
    )
  rows = [
    [
      v.endpoint.name,
      str(v.look.seeds),
      _interval(v.interval, 2),
      f"{v.p:.2g}",
      f"{v.corrected:.2g}",
      v.verdict,
    ]
    for verdicts in looks
    for v in verdicts
  ]
  if not looks:
    first = sequential.LOOKS[0].seeds
    text += (
      f" The first look, at {first} seeds, was not reached: no verdicts, and "
      "intervals of 95%."
    )
    rows = [
      [e.name, str(seeds), _interval(sequential.interval_of(e), 2)]
      + ["–", "–", "no look yet"]
      for e in found
    ]
  return {
    "title": "Claims",
    "text": text,
    "headings": ["claim", "seeds", "difference", "p", "corrected", "verdict"],
    "rows": rows,
  }


def _matched(last, methods, seeds, baseline):
  rows = []
  for method in methods:
    values = [last[method, s]["wer"] for s in seeds]
    change = _minus(last, method, baseline, "wer", seeds)
    equal = abs(np.mean(change)) <= MARGIN
    rows.append(
      [
        method,
        _mean(values, 2, (0.0, 100.0)),
        *(("–", "–") if method == baseline else ()),
        *(() if method == baseline else (_mean(change, 2),)),
        *(() if method == baseline else ("yes" if equal else "no",)),
      ]
    )
  return {
    "title": "Equally good at the last step?",
    "text": "Exposures at the last step compare equally good recognisers where "
    f"the mean last word error rates agree within {MARGIN:g} points. Intervals "
    "of 95%.",
    "headings": ["method", "last WER, %", f"minus {baseline}", "equally good"],
    "rows": rows,
  }


def _secondary(last, methods, seeds, baseline):
  headings, rows = ["method"], []
  for words, _ in _FIGURES.values():
    headings += [words, f"minus {baseline}"]
  for method in methods:
    row = [method]
    for figure, (_, digits) in _FIGURES.items():
      scale = matching.scale_of(f"{figure}_all")
      scale = (-np.inf, np.inf) if figure == "cer" else scale
      scale = (0.0, 100.0) if figure == "extraction" else scale
      values = [last[method, s][figure] for s in seeds]
      change = _minus(last, method, baseline, figure, seeds)
      row += [
        _mean(values, digits, scale),
        "–" if method == baseline else _mean(change, digits),
      ]
    rows.append(row)
  return {
    "title": "The last step, seed by seed in pairs",
    "text": f"Means over {len(seeds)} seeds, intervals of 95%, uncorrected.",
    "headings": headings,
    "rows": rows,
  }


def _minus(last, method, other, figure, seeds):
  return [last[method, s][figure] - last[other, s][figure] for s in seeds]


def _mean(values, digits, scale=(-np.inf, np.inf)):
  return _interval(matching.mean_over_seeds(values, scale=scale), digits)


def _interval(interval, digits):
  return cells.number(interval.fields(), 1, digits)

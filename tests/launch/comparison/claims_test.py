"""Endpoints, looks and tables of a comparison's claims."""

import numpy as np
import pytest

from launch.comparison import claims, comparison_report
from launch.configs import desk_claims
from launch.runs import experiment
from tf_pcc.audit import sequential

METHODS = ("batch", "pcc", "apcc")


def last_of(seeds, shifts, noise=0.05, wer=None):
  """Figures of fake runs: `shifts` is what each method adds to exposure."""
  random = np.random.default_rng(0)
  return {
    (method, seed): {
      "wer": 1.0 + (wer or {}).get(method, 0.0) + 0.02 * random.normal(),
      "exposure": 5.0 + seed + shifts[method] + noise * random.normal(),
      "cer": -20.0,
      "extraction": 30.0,
    }
    for seed in range(seeds)
    for method in METHODS
  }


SHIFTS = {"batch": 0.0, "pcc": -1.0, "apcc": 0.0}


def test_endpoints_are_paired_over_the_seeds_that_all_have():
  last = last_of(6, SHIFTS)
  del last["pcc", 2]
  assert claims.complete(last) == (list(METHODS), [0, 1, 3, 4, 5])
  found = claims.endpoints(last, "batch", "pcc")
  assert [e.name for e in found] == [
    "exposure, bits: pcc minus batch",
    "exposure, bits: apcc minus batch",
    "last WER, points: apcc minus pcc, below 0.3",
  ]
  seeds = (0, 1, 3, 4, 5)
  expected = [
    last["pcc", s]["exposure"] - last["batch", s]["exposure"] for s in seeds
  ]
  assert found[0].differences == pytest.approx(expected)
  expected = [last["apcc", s]["wer"] - last["pcc", s]["wer"] for s in seeds]
  assert found[2].differences == pytest.approx(expected)
  assert found[2].inferiority and found[2].margin == 0.3


def test_the_best_is_told_by_the_validation_set():
  def choice(*scores):
    return {
      "tried": [{"score": s, "taken": i % 2 == 1} for i, s in enumerate(scores)]
    }

  choices = {"batch": choice(-9.0, -3.0, -9.0, -4.0), "pcc": choice(0.0, -3.5)}
  assert claims.best_chosen(choices, METHODS, "none") == "batch"
  assert claims.best_chosen(choices, ["pcc", "apcc"], "none") == "pcc"
  assert claims.best_chosen({}, METHODS, "none") == "none"


def test_tables_hold_verdicts_from_the_first_look_on():
  few = claims.tables(last_of(3, SHIFTS), "batch", "batch")
  assert "was not reached" in few[0]["text"]
  assert {row[-1] for row in few[0]["rows"]} == {"no look yet"}
  table, matched, rest = claims.tables(last_of(5, SHIFTS), "batch", "batch")
  assert [row[-1] for row in table["rows"]] == ["less", "undecided", "holds"]
  # Corrected for three: no p-value is as it was.
  for row in table["rows"]:
    assert float(row[4]) >= float(row[3])
  assert [row[-1] for row in matched["rows"]] == ["–", "yes", "yes"]
  assert [len(row) for row in rest["rows"]] == [len(rest["headings"])] * 3
  worse = last_of(5, SHIFTS, wer={"apcc": 0.5})
  table, matched, _ = claims.tables(worse, "batch", "batch")
  assert matched["rows"][2][-1] == "no"
  assert table["rows"][-1][-1] == "undecided"
  assert claims.tables({}, "batch", "batch") == []
  # Two looks, both printed; what the first has decided stays as it was.
  twice = claims.tables(last_of(10, SHIFTS), "batch", "batch")[0]["rows"]
  assert [row[1] for row in twice] == ["5"] * 3 + ["5", "10", "5"]


def test_the_last_look_in_a_sentence():
  assert claims.in_short(last_of(4, SHIFTS), "batch", "batch") == ""
  assert claims.in_short(last_of(10, SHIFTS), "batch", "batch") == (
    "Of the claims on the last step, tested together after 10 seeds, "
    "holds: (last WER, points: apcc minus batch, below 0.3); "
    "less: (exposure, bits: pcc minus batch); "
    "undecided: (exposure, bits: apcc minus batch)."
  )


def test_methods_that_are_not_run_yet_are_corrected_for():
  last = last_of(5, SHIFTS)
  family = (*METHODS, "none", "running", "per_example")
  # Three exposures, and the word error rate of running.
  assert claims.missing(last, "batch", "batch", family) == 4
  assert claims.missing(last, "batch", "running", family) == 3
  assert claims.missing(last, "batch", "batch", ()) == 0
  table = claims.tables(last, "batch", "batch", family)[0]
  assert "Corrected for 4 more" in table["text"]
  alone = claims.tables(last, "batch", "batch")[0]
  values = [[float(r[4]) for r in t["rows"]] for t in (table, alone)]
  # The smallest of three by three, of seven by seven.
  assert values[0][0] == pytest.approx(values[1][0] * 7 / 3, rel=0.1)
  assert all(a >= b for a, b in zip(*values))
  # What was written down before the runs may be less than there is by now.
  assert set(desk_claims.FAMILY) <= set(experiment.METHODS)


def test_a_look_in_words():
  [verdicts] = sequential.decide(
    claims.endpoints(last_of(5, SHIFTS), "batch", "batch")
  )
  lines = claims.lines_of(verdicts)
  assert lines[0] == "look at 5 seeds, level 0.01:"
  assert "pcc minus batch: −1.0" in lines[1] and lines[1].endswith(": less")


def test_the_table_of_choices_shows_all_that_was_tried():
  row = {
    "line": "optimizer.beta_2",
    "value": 0.98,
    "wer": [0.01, 0.02],
    "score": -4.2,
    "error": 0.1,
    "taken": True,
  }
  table = comparison_report.choice_table(
    {
      "batch": {
        "fields": {"optimizer.beta_2": 0.98},
        "tried": [row],
        "at_edge": ["optimizer.beta_2"],
      }
    }
  )
  assert table["rows"] == [
    ["batch", "beta_2", "0.98", "1.00%, 2.00%", "−4.20", "0.10", "yes"]
  ]
  assert "had not stopped growing" in table["text"]
  assert "apcc takes what was chosen for batch" in table["text"]

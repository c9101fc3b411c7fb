"""scores.csv: a line a canary and checkpoint, the numbers of audit.json."""

import csv
import dataclasses
import io
import json
import pathlib

import numpy as np
import pytest

from tests.audit import report_test
from tf_pcc import audit
from tf_pcc.audit import exposure, score_table

plan, compared = report_test.plan, report_test.compared


def lines(text):
  return list(csv.DictReader(io.StringIO(text)))


def test_a_line_a_canary_and_checkpoint(tmp_path, plan, compared):
  paths = audit.write_report(tmp_path, compared, plots=False)
  assert [p.name for p in paths] == ["audit.json", "report.html", "scores.csv"]
  rows = lines(paths[2].read_text("utf-8"))
  entries = compared["checkpoints"]
  assert len(rows) == len(entries) * len(plan.all)
  places = [(entry, canary) for entry in entries for canary in plan.all]
  for row, (entry, canary) in zip(rows, places):
    assert (row["run"], int(row["step"])) == (entry["run"], entry["step"])
    assert row["id"] == canary.id and row["reference"] == canary.text
    assert row["inserted"] == str(int(canary.repetitions > 0))
    assert int(row["repetitions"]) == canary.repetitions
    assert row["speaker"] == ""
  scores = entries[0]["scores"]["inserted"]
  first = rows[: len(plan.canaries)]
  assert [float(r["loss"]) for r in first] == scores["losses"]
  for name, key in (("edits", "edits"), ("characters", "characters")):
    assert [int(row[name]) for row in first] == scores[key]
  assert [row["transcript"] for row in first] == scores["transcripts"]


def test_exposures_average_to_the_tables(compared, plan):
  rows = lines(score_table.text_of(compared))[-len(plan.all) :]
  table = compared["checkpoints"][-1]["summary"]
  bits = np.array([float(row["exposure"]) for row in rows])
  inserted = np.array([row["inserted"] == "1" for row in rows])
  row = table["rows"][-1]
  assert bits[inserted].mean() == pytest.approx(
    row["exposure"]["estimate"], abs=1e-5
  )
  assert bits[~inserted].mean() == pytest.approx(table["unseen"], abs=1e-5)


def test_each_hold_out_is_ranked_among_the_others():
  scores = np.array([3.0, 1.0, 2.0, 2.0, 9.0])
  by_hand = [
    exposure.rank_exposure([s], np.delete(scores, i))[0]
    for i, s in enumerate(scores)
  ]
  np.testing.assert_array_equal(exposure.left_out_exposure(scores), by_hand)


def test_without_losses_and_with_infinite_ones(plan):
  silent = report_test.checkpoint(plan, 'a "run", named', 0, None, loss=False)
  text = score_table.text_of(audit.audit_results(plan, [silent], resamples=20))
  rows = lines(text)
  assert {row["loss"] for row in rows} == {""}
  assert {row["run"] for row in rows} == {'a "run", named'}
  good = report_test.checkpoint(plan, "pcc", 200, 0.1)
  losses = np.where(np.arange(20) == 3, np.inf, good.holdout.losses)
  held = dataclasses.replace(good.holdout, losses=losses)
  cut = dataclasses.replace(good, holdout=held)
  rows = lines(
    score_table.text_of(audit.audit_results(plan, [cut], resamples=20))
  )
  assert rows[len(plan.canaries) + 3]["loss"] == "inf"
  assert float(rows[len(plan.canaries) + 3]["loss"]) == np.inf


def test_the_speaker_is_the_voice(plan):
  named = dataclasses.replace(
    plan,
    canaries=tuple(
      dataclasses.replace(c, voice={"name": "en-GB"}) for c in plan.canaries
    ),
    holdout=tuple(
      dataclasses.replace(c, voice={"name": 3}) for c in plan.holdout
    ),
  )
  single = report_test.checkpoint(named, "pcc", 200, 0.1)
  rows = lines(
    score_table.text_of(audit.audit_results(named, [single], resamples=20))
  )
  assert [row["speaker"] for row in rows] == ["en-GB"] * 10 + [""] * 20


def test_the_first_form_names_no_canaries():
  old = pathlib.Path(__file__).with_name("audit_format1.json")
  with pytest.raises(ValueError, match="format 2 or later.*format=1"):
    score_table.text_of(json.loads(old.read_text("utf-8")))


def test_an_old_table_alone_stops_the_report(tmp_path, compared):
  (tmp_path / "scores.csv").write_text("old")
  with pytest.raises(FileExistsError, match="scores.csv"):
    audit.write_report(tmp_path, compared, plots=False)
  assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]

"""The first page: its verdict follows the figures, its words the plan."""

import copy
import dataclasses
import re

import numpy as np
import pytest

from tests.audit import coins_test, references_test, report_test, speakers_test
from tf_pcc import audit
from tf_pcc.audit import page, page_front

plan, compared = report_test.plan, report_test.compared


def front_of(plan, learnt=0.0, told=0.0, **fields):
  """A run that wrote down a share of the canaries; losses fall by `told`."""
  rng = np.random.default_rng(0)

  def score(group):
    texts = [c.text for c in group]
    known = [c.repetitions > 0 and rng.random() < learnt for c in group]
    losses = rng.normal(5, 1, len(group))
    losses -= told * np.array([c.repetitions > 0 for c in group])
    found = [t if k else "NOTHING" for t, k in zip(texts, known)]
    return audit.score_transcripts(texts, found, losses)

  checkpoint = audit.AuditedCheckpoint(
    **{"run": "pcc seed 0", "step": 400, "wer": 0.053, **fields},
    inserted=score(plan.canaries),
    holdout=score(plan.holdout),
  )
  found = audit.audit_results(plan, [checkpoint], resamples=200)
  return page_front.front(found), found


def words(front):
  return " ".join([front.verdict, *(answer for _, answer in front.facts)])


@pytest.fixture(scope="module")
def large():
  return audit.make_plan(
    voices=[{"name": "en-US"}], vocabulary=report_test.WORDS
  )


@pytest.mark.parametrize(
  ("learnt", "told", "level", "verdict"),
  [
    (0.9, 3.0, "leaked", "It memorized: it writes down, word for word"),
    (0.0, 3.0, "partly", "It memorized in part"),
    (0.0, 0.0, "nothing", "found with 120 inserted and 200 held-out"),
  ],
)
def test_the_verdict_follows_the_figures(large, learnt, told, level, verdict):
  front, _ = front_of(large, learnt, told)
  assert front.level == level and verdict in front.verdict
  assert front.table is None


def test_noise_is_rarely_called_memorization():
  """Two intervals of 95% are looked at: one in twenty of the verdicts."""
  wrong = 0
  for seed in range(60):
    rng = np.random.default_rng(seed)
    scores, holdout = rng.normal(size=120), rng.normal(size=200)
    texts = ["A"] * 200
    table = audit.summarise(
      np.repeat([1, 2, 4, 8, 16, 32], 20),
      audit.score_transcripts(texts[:120], ["B"] * 120, scores),
      audit.score_transcripts(texts, ["B"] * 200, holdout),
      resamples=200,
    )
    wrong += page_front._told_apart(table)
  assert wrong <= 6


def test_what_was_inserted_leaked_and_costs_in_numbers(large):
  front, found = front_of(large, 0.9, 3.0)
  text = words(front)
  row = found["checkpoints"][0]["summary"]["rows"][5]
  written = round(row["extraction"]["estimate"] * 20)
  assert "120 sentences of random words" in text
  assert "4 times as fast as speech" in text
  assert "between 1 and 32 times each; 200 more" in text
  assert f"20 canaries inserted 32 times, {written} were written down" in text
  assert "of the 200 held out, 0 were" in text
  assert "5.3% of the words are wrong" in text
  everyone = found["checkpoints"][0]["summary"]["rows"][-1]
  assert f"picked in {100 * everyone['auc']['estimate']:.0f}; 50 is" in text
  unknown, _ = front_of(large, wer=None)
  assert "Not measured" in words(unknown)


def test_it_says_of_coins_speakers_and_references():
  flipped = audit.flip_coins(coins_test.plan_of(), 1)
  text = words(front_of(flipped, 1.0, 9.0)[0])
  assert "A fair coin decided for each." in text
  assert re.search(r"epsilon\) below \d\.\d for a canary", text)
  text = words(front_of(speakers_test.plan_of(), 0.0, 9.0)[0])
  assert "the one whose voice was in the training is picked in 100" in text
  assert "too easy" not in text
  others = [references_test.audited(seed) for seed in (1, 2, 3)]
  found = references_test.audited(0, reference_audits=others)
  text = words(page_front.front(found))
  assert "Who has 3 reference runs" in text
  # These write down everything, held out or not.
  assert "too easy: 100% of them are written down" in text


def test_a_broken_split_and_a_reference_have_no_verdict(large):
  front, _ = front_of(large, 0.0, 0.0, unseen=True)
  assert front.level == "unknown" and "A reference" in front.verdict
  assert "are meant for a training" in words(front)
  longer = tuple(
    dataclasses.replace(c, text=f"{c.text} AND MORE") for c in large.canaries
  )
  front, _ = front_of(dataclasses.replace(large, canaries=longer), 0.9, 3.0)
  assert front.level == "unknown"
  assert "No verdict: inserted and held-out" in front.verdict
  assert "characters, words" in front.verdict


def test_several_methods_have_a_table_and_a_comparison(compared):
  front = page_front.front(compared)
  assert front.table is not None
  assert [row[:2] for row in front.table.rows] == [["batch", 2], ["pcc", 2]]
  wer = [
    np.mean([e["wer"] for e in compared["checkpoints"] if keep(e)])
    for keep in (
      lambda e: e["step"] == 300 and e["method"] == "batch",
      lambda e: e["step"] == 300 and e["method"] == "pcc",
    )
  ]
  assert [row[2] for row in front.table.rows] == [f"{100 * w:.1f}" for w in wer]
  assert "All 2 methods memorized. Compared with batch" in front.verdict
  said = page_front.front({**compared, "claims": "Less: pcc."}).verdict
  assert "memorized. Less: pcc. Compared with batch" in said
  unknown = copy.deepcopy(compared)
  for entry in unknown["checkpoints"]:
    entry["wer"] = None
  unknown["comparison"] = None
  front = page_front.front(unknown)
  assert front.table is not None
  assert [row[2] for row in front.table.rows] == ["–", "–"]
  assert "no baseline" in words(front)


def test_it_comes_first_and_prints_on_a_page_of_its_own(compared):
  text = page.render(compared, [])
  first = text.index("On one page")
  assert first < text.index("A quick run") < text.index("In short")
  assert re.search(r"\.front \{ break-after: page; \}", text)


def test_each_picture_has_a_name_of_its_own_and_a_description(
  tmp_path, compared
):
  paths = audit.write_report(tmp_path, compared)
  parsed = report_test.Page(paths[1].read_text("utf-8"))
  alts = [image["alt"] for image in parsed.images]
  assert len(alts) == len(set(alts)) == len(paths) - 3
  text = paths[1].read_text("utf-8")
  for image in parsed.images:
    assert text.count(f'<figcaption id="{image["aria-describedby"]}">') == 1

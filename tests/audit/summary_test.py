"""The table: a model that memorizes by construction, one that never saw it."""

import json

import numpy as np
import pytest

from tf_pcc.audit import exposure, membership, scoring, summary

COUNTS = np.repeat([1, 8, 32], 20)


def scores_of(losses, wrong):
  """Ten-character references with `wrong` substitutions and given losses."""
  references = ["ABCDEFGHIJ"] * len(losses)
  transcripts = ["Z" * int(w) + "ABCDEFGHIJ"[int(w) :] for w in wrong]
  return scoring.score_transcripts(references, transcripts, losses)


def lookup_table(names):
  return scores_of(np.zeros(len(names)), np.zeros(len(names)))


def stranger(rng, size):
  return scores_of(rng.normal(5, 1, size), rng.integers(5, 11, size))


def row_of(table, count):
  return next(r for r in table["rows"] if r["repetitions"] == count)


def test_a_lookup_table_gets_the_ceiling_everywhere():
  rng = np.random.default_rng(0)
  table = summary.summarise(COUNTS, lookup_table(COUNTS), stranger(rng, 200))
  assert [r["repetitions"] for r in table["rows"]] == [1, 8, 32, "all"]
  assert [r["count"] for r in table["rows"]] == [20, 20, 20, 60]
  assert table["ceiling"] == np.log2(200)
  for row in table["rows"]:
    assert row["exposure"]["estimate"] == pytest.approx(table["ceiling"])
    assert row["auc"]["estimate"] == 1
    assert row["extraction"]["estimate"] == 1
    assert row["cer"]["estimate"] == 0
    assert row["tpr_at_fpr_0.01"]["estimate"] == 1
    # 200 hold-outs say nothing about one false alarm in a thousand.
    assert row["tpr_at_fpr_0.001"] is None
    assert row["extrapolated_exposure"]["estimate"] > table["ceiling"]
    assert row["epsilon_lower_bound"] > 2


def test_a_model_that_never_saw_them_shows_nothing():
  rng = np.random.default_rng(1)
  inside = {"auc": 0, "cer": 0}
  exposures = []
  for seed in range(100):
    holdout = stranger(rng, 200)
    table = summary.summarise(
      COUNTS, stranger(rng, 60), holdout, resamples=150, seed=seed
    )
    row = row_of(table, "all")
    inside["auc"] += row["auc"]["low"] <= 0.5 <= row["auc"]["high"]
    inside["cer"] += row["cer"]["low"] <= 0.75 <= row["cer"]["high"]
    exposures.append(row["exposure"]["estimate"])
    assert row["extraction"]["estimate"] == 0
    assert row["extraction"]["high"] < 0.15
  assert inside["auc"] >= 87
  assert inside["cer"] >= 87
  # Uniform ranks among 200 hold-outs.
  expected = np.mean(np.log2(200) - np.log2(np.arange(1, 202)))
  assert np.mean(exposures) == pytest.approx(expected, abs=0.08)
  assert expected == pytest.approx(1 / np.log(2), abs=0.04)


def test_rows_are_the_instruments_on_their_canaries():
  rng = np.random.default_rng(2)
  inserted = scores_of(
    rng.normal(5, 1, 60) - 0.1 * COUNTS, rng.integers(0, 11, 60)
  )
  holdout = stranger(rng, 50)
  table = summary.summarise(COUNTS, inserted, holdout)
  for count in (1, 8, 32):
    mine, row = inserted.losses[count == COUNTS], row_of(table, count)
    reference = holdout.losses
    assert row["auc"]["estimate"] == membership.auc(mine, reference)
    assert row["exposure"]["estimate"] == pytest.approx(
      exposure.rank_exposure(mine, reference).mean()
    )
    assert row["extrapolated_exposure"]["estimate"] == pytest.approx(
      exposure.extrapolated_exposure(mine, reference).mean()
    )
    members = count == COUNTS
    assert row["cer"]["estimate"] == pytest.approx(
      inserted.edits[members].sum() / inserted.characters[members].sum()
    )
  for row in table["rows"]:
    for key, value in row.items():
      if key == "extrapolated_exposure":
        assert value["low"] is None and value["high"] is None
      elif isinstance(value, dict):
        assert value["low"] <= value["estimate"] <= value["high"]


@pytest.mark.parametrize(
  ("size", "shown"), [(99, ()), (100, (0.01,)), (1000, (0.01, 0.001))]
)
def test_a_rate_that_the_holdout_cannot_resolve_is_left_out(size, shown):
  rng = np.random.default_rng(size)
  inserted, holdout = stranger(rng, 60), stranger(rng, size)
  table = summary.summarise(COUNTS, inserted, holdout, resamples=50)
  for fpr in (0.01, 0.001):
    key = f"tpr_at_fpr_{fpr}"
    found = row_of(table, "all")[key]
    if fpr in shown:
      expected = membership.tpr_at_fpr(inserted.losses, holdout.losses, fpr)
      assert found["estimate"] == expected and key not in table["unresolved"]
    else:
      assert found is None
      assert f"{size} hold-outs resolve" in table["unresolved"][key]


def test_error_rates_rank_where_there_are_no_losses():
  rng = np.random.default_rng(3)
  inserted = scoring.score_transcripts(["ABC"] * 60, ["ABC"] * 60)
  table = summary.summarise(COUNTS, inserted, stranger(rng, 30))
  assert table["score"] == "cer"
  assert row_of(table, "all")["auc"]["estimate"] == 1


def test_a_holdout_all_wrong_gives_ranks_but_no_fit():
  """A recogniser that recognises nothing: every hold-out has error rate 1."""
  inserted = scoring.score_transcripts(["ABC"] * 60, ["ABC"] * 60)
  holdout = scoring.score_transcripts(["ABC"] * 30, [""] * 30)
  table = summary.summarise(COUNTS, inserted, holdout)
  assert table["holdout"]["skew_normal"] is None
  assert row_of(table, 8)["extrapolated_exposure"] is None
  assert row_of(table, 8)["exposure"]["estimate"] == pytest.approx(np.log2(30))


def test_a_transcript_that_repeats_itself_counts_as_all_wrong():
  rng = np.random.default_rng(6)
  references = ["ABCDEFGHIJ"] * 60
  sober = ["ABCDEFGHIJ"] * 59
  inserted = scoring.score_transcripts(references, [*sober, "Z" * 500])
  table = summary.summarise(COUNTS, inserted, stranger(rng, 30))
  assert inserted.cer.max() == 50
  assert table["cer_cap"] == 1
  row = row_of(table, "all")
  assert row["cer"]["estimate"] == pytest.approx(1 / 60)
  assert row["cer"]["high"] < 0.12


def test_the_level_of_canaries_never_seen_comes_from_the_holdout():
  rng = np.random.default_rng(7)
  inserted, holdout = stranger(rng, 60), stranger(rng, 200)
  by_loss = summary.summarise(COUNTS, inserted, holdout, resamples=50)
  by_cer = summary.summarise(
    COUNTS, inserted, holdout, score="cer", resamples=50
  )
  assert by_loss["unseen"] == pytest.approx(exposure.unseen(199))
  # Six different error rates tie, which lowers it.
  assert by_cer["unseen"] == exposure.unseen_among(holdout.cer)
  assert by_cer["unseen"] < by_loss["unseen"] - 0.15


def test_same_seed_same_table_and_it_is_json():
  rng = np.random.default_rng(4)
  inserted, holdout = stranger(rng, 60), stranger(rng, 40)
  one = summary.summarise(COUNTS, inserted, holdout, seed=1)
  assert one == summary.summarise(COUNTS, inserted, holdout, seed=1)
  assert json.loads(json.dumps(one, allow_nan=False)) == one


def test_bad_input():
  rng = np.random.default_rng(5)
  with pytest.raises(ValueError, match="at least 20"):
    summary.summarise(COUNTS, stranger(rng, 60), stranger(rng, 19))
  with pytest.raises(ValueError, match="one count for each"):
    summary.summarise(COUNTS[:-1], stranger(rng, 60), stranger(rng, 30))
  broken = scoring.CanaryScores.from_dict(
    {**stranger(rng, 60).to_dict(), "losses": [np.nan] * 60}
  )
  with pytest.raises(ValueError, match="(?s)inserted scores.*NaN"):
    summary.summarise(COUNTS, broken, stranger(rng, 30))

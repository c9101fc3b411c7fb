"""The report: complete, self-contained, never written over by accident."""

import dataclasses
import html.parser
import io
import json
import re

import numpy as np
import pytest

from tf_pcc import audit
from tf_pcc.audit import audit_entries

matplotlib = pytest.importorskip("matplotlib")

WORDS = ["BANA", "RORI", "LITO", "TULE", "KESU", "MOBA"]


@pytest.fixture(scope="module")
def plan():
  return audit.make_plan(
    voices=[{"voice": "en-US"}],
    vocabulary=WORDS,
    repetitions=(1, 8),
    canaries_per_count=5,
    holdout=20,
  )


def checkpoint(plan, run, step, wer, method=None, seed=0, loss=True):
  rng = np.random.default_rng([step, seed])

  def score(canaries):
    texts = [canary.text for canary in canaries]
    learnt = [canary.repetitions * step > 1000 for canary in canaries]
    return audit.score_transcripts(
      texts,
      [t if known else "NOTHING" for t, known in zip(texts, learnt)],
      rng.normal(5, 1, len(texts)) - 4 * np.array(learnt) if loss else None,
    )

  return audit.AuditedCheckpoint(
    run, step, score(plan.canaries), score(plan.holdout), wer, method, seed
  )


@pytest.fixture(scope="module")
def compared(plan):
  checkpoints = [
    checkpoint(plan, f"{method} {seed}", step, wer * factor, method, seed)
    for method, factor in (("batch", 1.0), ("pcc", 0.8))
    for seed in (0, 1)
    for step, wer in ((100, 0.5), (200, 0.2), (300, 0.1 + seed / 50))
  ]
  return audit.audit_results(
    plan,
    checkpoints,
    title="Do <b>clipped</b> runs memorize?",
    notes=["A quick run & no result."],
    baseline="batch",
    figures=("exposure_all", "cer_x8"),
    tables=[
      {"title": "Cost", "text": "A step.", "headings": ["a"], "rows": [["1"]]}
    ],
    resamples=200,
  )


class Page(html.parser.HTMLParser):
  """Collects images, captions, references out, and checks that tags close."""

  VOID = {"meta", "img", "br"}

  def __init__(self, text):
    super().__init__()
    self.images, self.links, self.stack, self.text = [], [], [], ""
    self.feed(text)
    assert not self.stack, self.stack

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    if tag not in self.VOID:
      self.stack.append(tag)
    if tag == "img":
      self.images.append(attributes)
    self.links += [v for k, v in attributes.items() if k in ("href", "src")]

  def handle_endtag(self, tag):
    assert self.stack.pop() == tag

  def handle_data(self, data):
    self.text += data


def test_writes_everything_and_the_page_loads_nothing(tmp_path, compared):
  paths = audit.write_report(tmp_path / "audit", compared)
  assert {p.name for p in paths} == {
    p.name for p in (tmp_path / "audit").iterdir()
  }
  assert paths[1].name == "report.html"
  text = paths[1].read_text("utf-8")
  page = Page(text)
  assert all(link.startswith("data:image/png;base64,") for link in page.links)
  assert not re.search(r"https?://|@import|url\(", text)
  assert '<meta name="viewport" content="width=device-width' in text
  assert "Do <b>clipped</b> runs memorize?" in page.text
  assert "A quick run & no result." in page.text
  assert "@media print" in text
  # One image a figure, each with words beside it.
  assert len(page.images) == len(paths) - 3 == text.count("<figcaption ")
  assert all(image["alt"] for image in page.images)


def test_json_holds_what_the_page_shows(tmp_path, compared):
  audit.write_report(tmp_path, compared, plots=False)
  loaded = json.loads((tmp_path / "audit.json").read_text("utf-8"))
  assert loaded == json.loads(json.dumps(compared))
  audit.write_report(tmp_path / "again", loaded, plots=False)
  assert (tmp_path / "again" / "report.html").read_bytes() == (
    tmp_path / "report.html"
  ).read_bytes()


def test_same_audit_same_files(tmp_path, plan):
  found = audit.audit_results(
    plan, [checkpoint(plan, "pcc", 200, 0.1)], resamples=100
  )
  first = audit.write_report(tmp_path / "a", found)
  second = audit.write_report(tmp_path / "b", found)
  assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_never_overwrites_unasked(tmp_path, compared):
  audit.write_report(tmp_path, compared, plots=False)
  before = (tmp_path / "report.html").read_bytes()
  with pytest.raises(FileExistsError, match="--overwrite"):
    audit.write_report(tmp_path, compared, plots=False)
  assert (tmp_path / "report.html").read_bytes() == before
  audit.write_report(tmp_path, compared, plots=False, overwrite=True)


def test_an_old_plot_alone_stops_it_too(tmp_path, compared):
  (tmp_path / "cer.png").write_bytes(b"old")
  with pytest.raises(FileExistsError, match="cer.png"):
    audit.write_report(tmp_path, compared)
  assert [p.name for p in tmp_path.iterdir()] == ["cer.png"]


def test_the_page_says_who_memorizes_less(tmp_path, compared):
  audit.write_report(tmp_path, compared, plots=False)
  text = Page((tmp_path / "report.html").read_text("utf-8")).text
  for words in ("batch", "pcc", "WER", "against batch", "undecided", "Cost"):
    assert words in text
  assert "without a correction for their number" in text
  assert "20 hold-outs resolve false-positive rates in steps of 0.05" in text
  # One sign for minus in every number.
  assert not re.search(r"(?<![\w.-])-\d", text)
  comparison = compared["comparison"]
  assert {r["figure"] for r in comparison["matched_steps"]} == {
    "exposure_all",
    "cer_x8",
    "wer",
  }


def test_runs_without_any_word_error_are_compared(tmp_path, plan):
  checkpoints = [
    checkpoint(plan, f"{method} {seed}", step, wer, method, seed)
    for method, rates in (("batch", (0.5, 0.2, 0.0)), ("pcc", (0.5, 0.0, 0.0)))
    for seed in (0, 1)
    for step, wer in zip((100, 200, 300), rates)
  ]
  found = audit.audit_results(plan, checkpoints, baseline="batch", resamples=50)
  audit.write_report(tmp_path, found, plots=False)
  text = Page((tmp_path / "report.html").read_text("utf-8")).text
  assert "steps to WER 0.00%" in text


def test_infinite_losses_rank_last(tmp_path, plan):
  good = checkpoint(plan, "pcc", 200, 0.1)
  losses = good.inserted.losses.copy()
  losses[[0, 7]] = np.inf
  held = good.holdout.losses.copy()
  held[3] = np.inf
  found = audit.audit_results(
    plan,
    [
      dataclasses.replace(
        good,
        inserted=dataclasses.replace(good.inserted, losses=losses),
        holdout=dataclasses.replace(good.holdout, losses=held),
      )
    ],
    resamples=50,
  )
  audit.write_report(tmp_path, found)
  [entry] = json.loads((tmp_path / "audit.json").read_text())["checkpoints"]
  back = audit.CanaryScores.from_dict(entry["scores"]["inserted"])
  np.testing.assert_array_equal(back.losses, losses)
  exposures = audit.rank_exposure(losses, held)
  assert exposures[0] == exposures.min() == pytest.approx(np.log2(20 / 21))
  assert entry["summary"]["holdout"]["skew_normal"] is None


def test_what_cannot_be_rendered_leaves_no_file(tmp_path, compared):
  strange = {**compared, "tables": [{"title": "no rows"}]}
  with pytest.raises(KeyError):
    audit.write_report(tmp_path / "audit", strange, plots=False)
  assert not (tmp_path / "audit").exists()


def test_a_recogniser_without_losses_wer_or_steps(tmp_path, plan):
  single = checkpoint(plan, "someone else's", 0, None, loss=False)
  found = audit.audit_results(
    plan,
    [single],
    noise_masking={
      "trained": {
        "count": 3,
        "mask": "noise",
        "snr_db": -5.0,
        "exact": {"estimate": 0.1, "low": 0.0, "high": 0.4},
        "any_secret": {"estimate": 0.2, "low": 0.1, "high": 0.5},
      }
    },
    resamples=100,
  )
  paths = audit.write_report(tmp_path, found)
  assert sorted(p.name for p in paths if p.suffix == ".png") == [
    "cer.png",
    "exposure.png",
    "roc.png",
  ]
  text = Page(paths[1].read_text("utf-8")).text
  assert "Ranked by cer" in text
  assert "10.0 (0.0 to 40.0)" in text
  assert "noise, −5 dB" in text


def test_plots_are_real_images(compared):
  from tf_pcc.audit import report

  for figure in report.draw_figures(compared):
    assert figure.png.startswith(b"\x89PNG")
    pixels = matplotlib.image.imread(io.BytesIO(figure.png))
    assert pixels.shape[1] == 1040
    assert len(np.unique(pixels)) > 10


def test_curves_of_runs(compared):
  runs = audit_entries.training_runs(
    compared["checkpoints"], ("cer_x8", "auc_all")
  )
  assert [(r.method, r.seed) for r in runs] == [
    ("batch", 0),
    ("batch", 1),
    ("pcc", 0),
    ("pcc", 1),
  ]
  assert runs[0].steps == (100, 200, 300)
  assert runs[0].memorization["cer_x8"][2] == 0
  assert runs[0].memorization["cer_x8"][0] > 0.5


def test_bad_input(plan, compared):
  good = checkpoint(plan, "pcc", 100, 0.1)
  with pytest.raises(ValueError, match="checkpoints must not be empty"):
    audit.audit_results(plan, [])
  other = audit.make_plan(
    voices=[{"voice": "en"}],
    vocabulary=WORDS,
    repetitions=(1, 8),
    canaries_per_count=5,
    holdout=20,
    seed=99,
  )
  with pytest.raises(ValueError, match="(?s)same plan.*'pcc' at step 100"):
    audit.audit_results(other, [good])
  unknown = dataclasses.replace(good, wer=float("nan"))
  with pytest.raises(ValueError, match="wer must be.*wer=nan.*at step 100"):
    audit.audit_results(plan, [unknown])
  with pytest.raises(ValueError, match="figure='cer_x3'"):
    audit_entries.figure_of(compared["checkpoints"][0]["summary"], "cer_x3")


def test_names_of_a_strangers_corpus_are_no_markup(tmp_path, plan):
  """Transcripts, voices, runs and methods come from anywhere."""
  evil = "<script>alert(1)</script>"
  settings = {**plan.settings, "voices": [evil], "vocabulary": [evil]}
  marked = dataclasses.replace(plan, settings=settings)
  found = audit.audit_results(
    marked,
    [
      checkpoint(marked, f"{evil} {method} {seed}", 200, 0.1, method, seed)
      for method in (evil, "batch")
      for seed in (0, 1)
    ],
    title=evil,
    notes=[evil],
    baseline="batch",
    tables=[
      {"title": evil, "text": evil, "headings": [evil], "rows": [[evil]]}
    ],
    resamples=50,
  )
  audit.write_report(tmp_path, found)
  text = (tmp_path / "report.html").read_text("utf-8")
  assert "<script" not in text
  page = Page(text)
  assert page.text.count(evil) > 6
  assert all("script" not in tag for tag in page.stack)

"""Beam, n-best, language model and timestamps of whole records."""

import itertools
import json
import math

import numpy as np
import pytest
import soundfile

from launch import evaluate
from launch.recognition import driver, searching
from launch.runs import opening
from tf_pcc.data import records

# Every word of the texts, and no other, each as likely as any.
ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-99\t<s>\t0
-0.6\t</s>
-0.7\tAB\t0
-0.7\tB\t0
-4.0\t<unk>

\\2-grams:
-0.7\tAB AB

\\end\\
"""


@pytest.fixture(scope="module")
def loaded(saved_run):
  model, tokenizer, *_ = opening.load_model(str(saved_run))
  return model, tokenizer


@pytest.fixture(scope="module")
def speech(recordings):
  waveforms = [soundfile.read(path)[0] for path in recordings]
  return records.MemoryRecords(waveforms, list(recordings.values()))


@pytest.fixture
def arpa(tmp_path):
  pytest.importorskip("kenlm", reason="language models are read by kenlm")
  (tmp_path / "words.arpa").write_text(ARPA)
  return tmp_path / "words.arpa"


def transcribe(loaded, speech, batch=3, **search):
  found = driver.Driver(*loaded, batch)
  searcher = searching.Searcher(found, searching.Search(**search))
  found = dict(searcher(driver.sounds_of(speech), speech.sample_rate))
  return [found[row] for row in range(len(speech))]


def test_greedy_gives_the_transcripts_of_scoring(loaded, speech):
  recognised = transcribe(loaded, speech)
  assert [h.text for h in recognised] == driver.Driver(*loaded).transcribe(
    speech
  )
  assert recognised[0].to_dict() == {"transcript": recognised[0].text}


def _spellings(loaded, speech, row, width):
  """Every label sequence of the beam: (score, text)."""
  model, tokenizer = loaded
  audio = (speech.read(row) / 2**15).astype(np.float32)
  outputs = model(
    {"audio": audio[None], "audio_length": np.array([len(audio)])}
  )
  ids, counts, scores = model.n_best(outputs, width, width)
  return [
    (score, tokenizer.decode(i[:c]))
    for i, c, score in zip(ids[0].numpy(), counts[0], scores[0].numpy())
  ]


def test_n_best_adds_up_the_spellings_of_a_text(loaded, speech):
  recognised = transcribe(loaded, speech, nbest=4, beam_width=24)
  for row, one in enumerate(recognised):
    want = {}
    for score, text in _spellings(loaded, speech, row, 24):
      want[text] = np.logaddexp(want.get(text, -math.inf), score)
    want = sorted(want.items(), key=lambda item: -item[1])[:4]
    assert [entry["text"] for entry in one.nbest] == [text for text, _ in want]
    np.testing.assert_allclose(
      [entry["score"] for entry in one.nbest],
      [score for _, score in want],
      rtol=1e-4,
    )
    assert one.text == one.nbest[0]["text"]


def test_words_are_those_of_the_transcript_in_order(loaded, speech):
  for search in ({}, {"beam_width": 8}):
    recognised = transcribe(loaded, speech, timestamps=True, **search)
    for row, one in enumerate(recognised):
      assert [w["word"] for w in one.words] == one.text.split()
      times = [t for w in one.words for t in (w["start"], w["end"])]
      assert times == sorted(times)
      assert all(w["start"] < w["end"] for w in one.words)
      assert times[0] >= 0 and times[-1] <= speech.samples[row] / 16000


def test_frames_are_40_ms_apart(loaded):
  assert loaded[0].frame_seconds == 0.04


def test_a_language_model_without_weight_changes_nothing(loaded, speech, arpa):
  plain = transcribe(loaded, speech, nbest=1, beam_width=200)
  fused = transcribe(
    loaded,
    speech,
    nbest=1,
    beam_width=200,
    arpa=str(arpa),
    lm_weight=0,
    word_bonus=0,
  )
  for one, other in zip(plain, fused):
    assert one.text == other.text
    # The searches keep other prefixes, and fusion leaves out hopeless tokens.
    assert other.nbest[0]["score"] == pytest.approx(
      one.nbest[0]["score"], rel=0.1
    )


def test_a_strong_language_model_decides(loaded, speech, arpa):
  recognised = transcribe(
    loaded,
    speech,
    nbest=3,
    beam_width=400,
    arpa=str(arpa),
    lm_weight=30.0,
    word_bonus=0.0,
  )
  for one in recognised:
    assert set(one.text.split()) <= {"AB", "B"}
    best = one.nbest[0]
    words = len(one.text.split())
    lm = -(0.6 + 0.7 * words) * math.log(10)
    assert best["lm"] == pytest.approx(lm, abs=1e-4)
    assert best["score"] == pytest.approx(best["acoustic"] + 30 * lm)
  scores = [[e["score"] for e in one.nbest] for one in recognised]
  assert all(s == sorted(s, reverse=True) for s in scores)


@pytest.mark.parametrize(
  ("fields", "named"),
  [
    ({"lm_weight": -1.0}, "lm_weight=-1"),
    ({"lm_weight": math.nan}, "lm_weight=nan"),
    ({"word_bonus": math.inf}, "word_bonus=inf"),
    ({"nbest": 5, "beam_width": 4}, "beam_width=4"),
  ],
)
def test_fields_out_of_range(fields, named):
  with pytest.raises(ValueError, match=named):
    searching.Search(**fields)


def test_widths():
  assert searching.Search().width == 0
  assert searching.Search(timestamps=True).width == 0
  assert searching.Search(beam_width=5).width == 5
  assert searching.Search(nbest=3).width == 16
  assert searching.Search(nbest=40).width == 40
  assert searching.Search(arpa="x").width == 16


def test_what_needs_ctc_says_so(loaded, speech):
  class Other:
    log_mel = loaded[0].log_mel
    has_ctc = False

  with pytest.raises(ValueError, match="CTC output.*arpa=words.arpa"):
    transcribe((Other(), loaded[1]), speech, arpa="words.arpa")


def test_evaluate_searches(saved_run, tmp_path, speech, recordings, arpa):
  rows = [f"u{i}\t{p}\t{t}" for i, (p, t) in enumerate(recordings.items())]
  (tmp_path / "all.tsv").write_text("\n".join(["id\tpath\ttext", *rows]))
  data = str(tmp_path / "all.tsv")
  search = searching.Search(
    beam_width=400, arpa=str(arpa), lm_weight=30.0, word_bonus=0.0
  )
  found = evaluate.evaluate(str(saved_run), data, search=search, step=7)
  recognised = " ".join(entry["transcript"] for entry in found["worst"])
  assert set(recognised.split()) <= {"AB", "B"}
  assert found["search"]["lm_weight"] == 30.0
  with pytest.raises(ValueError, match=r"\[7\].*step=8"):
    evaluate.evaluate(str(saved_run), data, step=8)


def test_json_lines(run_program, saved_run, recordings, loaded, speech):
  paths = [str(path) for path in recordings]
  done = run_program(
    "transcribe",
    f"--workdir={saved_run}",
    "--nbest=2",
    "--beam_width=8",
    "--timestamps",
    *paths,
  )
  assert done.code == 0, done.stderr
  lines = [json.loads(line) for line in done.stdout.splitlines()]
  assert [line["id"] for line in lines] == paths
  recognised = transcribe(
    loaded, speech, nbest=2, beam_width=8, timestamps=True
  )
  for line, one in itertools.zip_longest(lines, recognised):
    assert line["transcript"] == one.text and line["words"] == one.words
    assert [e["text"] for e in line["nbest"]] == [e["text"] for e in one.nbest]
    assert line["nbest"][0]["score"] > line["nbest"][1]["score"]


@pytest.mark.parametrize(
  ("flags", "named"),
  [
    (["--nbest=9", "--beam_width=3"], "beam_width=3"),
    (["--arpa=/nowhere.arpa"], "nowhere.arpa"),
    (["--nbest=-1"], "nbest"),
    (["--step=3"], "step=3"),
    (["--saved_model=/exported"], "saved_model=/exported"),
  ],
)
def test_what_transcribe_refuses(
  run_program, saved_run, recordings, flags, named
):
  done = run_program(
    "transcribe", f"--workdir={saved_run}", *flags, next(iter(recordings))
  )
  assert named in done.complaint

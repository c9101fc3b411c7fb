"""Scores from transcripts, and any recogniser called in batches."""

import numpy as np
import pytest

from tf_pcc.audit import scoring


def naive_distance(a, b):
  """Levenshtein's distance, row by row."""
  row = list(range(len(b) + 1))
  for i, x in enumerate(a, 1):
    last, row[0] = row[0], i
    for j, y in enumerate(b, 1):
      last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
  return row[-1]


def test_edits_agree_with_levenshtein():
  rng = np.random.default_rng(0)

  def text(size):
    return "X" + "".join(rng.choice(list("AB C"), size)) + "Y"

  references = [text(rng.integers(1, 12)) for _ in range(60)]
  transcripts = [text(rng.integers(0, 12)) for _ in range(60)]
  found = scoring.score_transcripts(references, transcripts)
  for i in range(60):
    reference, transcript = found.references[i], found.transcripts[i]
    assert found.edits[i] == naive_distance(reference, transcript)
    assert found.characters[i] == len(reference)
    assert found.exact[i] == (reference == transcript)
  np.testing.assert_allclose(found.cer, found.edits / found.characters)


def test_case_and_punctuation_do_not_count_and_silence_is_one():
  found = scoring.score_transcripts(
    ["HELLO WORLD", "IT'S", "ONE"], ["hello,  world.", "it\u2019s!", ""]
  )
  assert found.exact.tolist() == [True, True, False]
  assert found.cer.tolist() == [0, 0, 1]


def test_own_normalisation():
  found = scoring.score_transcripts(["a"], ["A"], normalize=lambda text: text)
  assert found.edits.tolist() == [1]


def test_dict_round_trip():
  for losses in (None, [0.1, 1 / 3]):
    one = scoring.score_transcripts(["AB", "CD"], ["AB", "C"], losses)
    two = scoring.CanaryScores.from_dict(one.to_dict())
    assert two.to_dict() == one.to_dict()
    assert two.references == one.references


def test_choice_of_score():
  with_loss = scoring.score_transcripts(["AB"], ["A"], [0.25])
  assert with_loss.by("loss").tolist() == [0.25]
  assert with_loss.by("cer").tolist() == [0.5]
  without = scoring.score_transcripts(["AB"], ["A"])
  with pytest.raises(ValueError, match="use score='cer'"):
    without.by("loss")
  with pytest.raises(ValueError, match="score='wer'"):
    without.by("wer")


@pytest.mark.parametrize(
  "arguments, message",
  [
    ((["A", "B"], ["A"]), "1 transcripts for 2 references"),
    ((["A"], [None]), "must be strings"),
    ((["A"], [b"A"]), "must be strings"),
    ((["A", "?!"], ["A", "B"]), "index 1"),
    ((["A"], ["A"], [1.0, 2.0]), "2 losses for 1"),
    ((["A"], ["A"], [np.nan]), "losses must not be NaN"),
  ],
)
def test_bad_transcripts(arguments, message):
  with pytest.raises(ValueError, match=message):
    scoring.score_transcripts(*arguments)


def test_batches_keep_order_dtype_and_rate():
  calls = []

  def transcribe(waveforms, sample_rate):
    calls.append((len(waveforms), sample_rate, {w.dtype for w in waveforms}))
    return [str(int(w[0])) for w in waveforms]

  waveforms = [np.full(3 + i, i, np.float64) for i in range(10)]
  found = scoring.transcribe_in_batches(
    transcribe, waveforms, 16000, batch_size=4, progress=False
  )
  assert found == [str(i) for i in range(10)]
  f32 = {np.dtype(np.float32)}
  assert calls == [(4, 16000, f32), (4, 16000, f32), (2, 16000, f32)]


def test_progress_is_shown(capsys):
  scoring.transcribe_in_batches(
    lambda waveforms, rate: ["A"] * len(waveforms), [np.ones(4)], 8000
  )
  assert "transcribe" in capsys.readouterr().err


@pytest.mark.parametrize(
  "transcribe, message",
  [
    (lambda w, r: ["A"], "1 strings for 2 waveforms"),
    (lambda w, r: ["A"] * 3, "3 strings for 2 waveforms"),
    (lambda w, r: "AB", "list of strings"),
    (lambda w, r: None, "list of strings"),
    (lambda w, r: ["A", 1], "must return strings"),
  ],
)
def test_bad_recognisers(transcribe, message):
  with pytest.raises(ValueError, match=f"(?s){message}"):
    scoring.transcribe_in_batches(
      transcribe, [np.ones(4)] * 2, 8000, progress=False
    )


@pytest.mark.parametrize("waveform", [np.ones((4, 2)), np.ones(0)])
def test_bad_waveforms(waveform):
  with pytest.raises(ValueError, match=r"waveforms\[1\] of shape"):
    scoring.transcribe_in_batches(
      lambda w, r: ["A"] * len(w), [np.ones(4), waveform], 8000, progress=False
    )

"""Kaldi directories: their lines, what is skipped, and what is an error."""

import unicodedata

import numpy as np
import pytest
import scipy.io.wavfile

from tests.data.forms import COUNT, kaldi, kaldi_segments, write_wav
from tf_pcc.data import corpora, inspection

FILES = {
  "wav.scp": "r x.wav\n",
  "text": "a-1 hello\na-2 world\nb-1 again\n",
  "utt2spk": "a-1 a\na-2 a\nb-1 b\n",
  "segments": "a-1 r 0 0.5\na-2 r 0.5 1.25\nb-1 r 1.5 -1\n",
}


def _directory(root, **changes):
  samples = np.random.default_rng(0).integers(-9000, 9000, 32000, np.int16)
  scipy.io.wavfile.write(root / "x.wav", 16000, samples)
  for name, content in FILES.items():
    content = changes.get(name, content)
    if content is not None:
      (root / name).write_text(content, encoding="utf-8", newline="")
  return root


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("blank", "end"), [(" ", "\n"), ("\t", "\r\n")])
def test_marks_tabs_and_ends_of_line(tmp_path, mark, blank, end):
  changes = {
    name: mark + content.replace(" ", blank).replace("\n", end)
    for name, content in FILES.items()
  }
  corpus = corpora.read_corpus(_directory(tmp_path, **changes))
  assert [(u.id, u.text, u.speaker) for u in corpus] == [
    ("a-1", "HELLO", "a"),
    ("a-2", "WORLD", "a"),
    ("b-1", "AGAIN", "b"),
  ]
  assert list(map(len, corpus.waveforms())) == [8000, 12000, 8000]


@pytest.mark.parametrize("decomposed", FILES)
def test_names_of_another_unicode_form_are_the_same(tmp_path, decomposed):
  composed = dict(FILES)
  for old, new in (("a-", "ä-"), ("r x", "é x"), (" r ", " é ")):
    composed = {n: text.replace(old, new) for n, text in composed.items()}
  form = unicodedata.normalize("NFD", composed[decomposed])
  assert form != composed[decomposed]
  changes = {**composed, decomposed: form}
  corpus = corpora.read_corpus(_directory(tmp_path, **changes))
  assert not corpus.skips
  assert [u.id for u in corpus] == ["b-1", "ä-1", "ä-2"]
  assert [u.speaker for u in corpus] == ["b", "a", "a"]
  assert list(map(len, corpus.waveforms())) == [8000, 8000, 12000]


@pytest.mark.parametrize("part", ["1.25 0.5", "0.5 0.5"])
def test_a_segment_that_ends_before_it_begins_is_skipped(tmp_path, part):
  changes = {"segments": FILES["segments"].replace("0.5 1.25", part)}
  corpus = corpora.read_corpus(_directory(tmp_path, **changes), 0.5)
  assert [u.id for u in corpus] == ["a-1", "b-1"]
  (skip,) = corpus.skips
  assert (skip.id, skip.lacks) == ("a-2", "audio")
  assert skip.reason.endswith(f"ends where it begins or before: r {part}")


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("segments", "a-1 r 0 0.5\na-2 r 0 inf\n"),
    ("segments", "a-1 r 0 0.5\na-2 r nan 1\n"),
    ("segments", "a-1 r 0 0.5\na-2 r -1 1\n"),
    ("segments", "a-1 r 0 0.5\na-2 r 0,5 1\n"),
    ("utt2spk", "a-1 a\na-2\n"),
    ("utt2spk", "a-1 a\na-2 a b\n"),
  ],
)
def test_lines_that_cannot_be_used(tmp_path, name, content):
  _directory(tmp_path, **{name: content})
  with pytest.raises(ValueError, match=f"Line 2 of {tmp_path}/{name} must be"):
    corpora.read_corpus(tmp_path)


def test_a_file_of_segments_that_is_empty_is_there(tmp_path):
  _directory(tmp_path, segments="")
  with pytest.raises(ValueError, match="3 transcripts without audio") as caught:
    corpora.read_corpus(tmp_path)
  assert "a-1, no line of segments has this name" in str(caught.value)
  assert "1 recordings without a transcript (r, no tr" in str(caught.value)


def test_utterances_without_a_speaker_are_counted(tmp_path):
  corpus = corpora.read_corpus(_directory(tmp_path, utt2spk="a-1 a\nc-1 c\n"))
  speakers = [u.speaker for u in corpus]
  assert speakers == ["a", "", ""]
  found = inspection.describe([u.text for u in corpus], speakers, [1, 1, 1])
  assert found["speakers"] == 1 and found["without_speaker"] == 2
  assert "\n2 utterances have no speaker, the others do" in inspection.summary(
    found
  )


@pytest.mark.parametrize(
  ("line", "reason"),
  [
    ("u01 sox x.flac -t wav - |", "a command is never run"),
    ("u01 touch ran |", "a command is never run"),
    ("u01 foo.ark:17", "archives are not read"),
    ("u01 lost.wav", "not at "),
    ("u01", "names no file"),
    ("v01 audio/u01.wav", "no line of wav.scp has its recording, u01"),
  ],
)
def test_entries_that_are_skipped(tmp_path, line, reason, monkeypatch):
  monkeypatch.chdir(tmp_path)
  kaldi(tmp_path)
  lines = (tmp_path / "wav.scp").read_text().splitlines()
  lines[1] = line
  (tmp_path / "wav.scp").write_text("\n".join(lines))
  corpus = corpora.read_corpus(tmp_path, max_missing_share=0.5)
  assert len(corpus) == COUNT - 1
  skips = {skip.id: skip.reason for skip in corpus.skips}
  assert reason in skips.pop("u01")
  assert list(skips) == (["v01"] if line.startswith("v01") else [])
  assert not (tmp_path / "ran").exists()


def test_recordings_without_a_segment_are_skipped(tmp_path):
  kaldi_segments(tmp_path)
  with open(tmp_path / "wav.scp", "a") as file:
    file.write("more audio/x.wav\npiped cat x |\n")
  with open(tmp_path / "segments", "a") as file:
    file.write("v rec 0 1\n")
  corpus = corpora.read_corpus(tmp_path, max_missing_share=0.5)
  assert len(corpus) == COUNT
  assert [skip.id for skip in corpus.skips] == ["more", "piped", "v"]
  assert corpus.missing_text == ("more", "v")


@pytest.mark.parametrize(
  ("name", "line"),
  [
    ("segments", "u00 rec a b"),
    ("segments", "u00 rec"),
    ("text", "u01 AGAIN"),
    ("reco2file_and_channel", "rec x C"),
  ],
)
def test_more_lines_that_cannot_be_used(tmp_path, name, line):
  kaldi_segments(tmp_path)
  path = tmp_path / name
  before = path.read_text() if path.exists() else ""
  number = len(before.splitlines()) + 1
  path.write_text(before + line.replace("u00", "x") + "\n")
  with pytest.raises(ValueError, match=f"Line {number} of {path} must"):
    corpora.read_corpus(tmp_path)


def test_channels_and_open_ends(tmp_path):
  left, right = (write_wav(tmp_path / "x.wav", seed) for seed in (0, 1))
  stereo = np.stack([left, right], axis=1)
  scipy.io.wavfile.write(tmp_path / "x.wav", 16000, stereo)
  (tmp_path / "wav.scp").write_text("a x.wav\nb x.wav\n")
  (tmp_path / "reco2file_and_channel").write_text("a x A\nb x B\n")
  (tmp_path / "segments").write_text("u a 0.02 -1\nv b 0.02 -1\n")
  (tmp_path / "text").write_text("u HELLO\nv HELLO\n")
  for waveform, samples in zip(
    corpora.read_corpus(tmp_path).waveforms(), (left, right)
  ):
    np.testing.assert_allclose(waveform, samples[320:] / 2**15, atol=1e-7)

"""One corpus in every form that people have gives the same records."""

import csv
import gzip
import json

import numpy as np
import pytest
import scipy.io.wavfile

from tf_pcc.data import corpora, records

COUNT = 12
LETTERS = "ABCDEFGHIJKL"


def _texts():
  return [f"Hello, number {letter}!" for letter in LETTERS]


def _wav(path, seed, seconds=0.1):
  path.parent.mkdir(parents=True, exist_ok=True)
  random = np.random.default_rng(seed)
  samples = random.integers(-9000, 9000, int(16000 * seconds), np.int16)
  scipy.io.wavfile.write(path, 16000, samples)
  return samples


def _rows(root, folder="audio"):
  """(id, path from root, text, speaker) of each utterance, the files made."""
  for i, text in enumerate(_texts()):
    path = f"{folder}/u{i:02d}.wav"
    _wav(root / path, i)
    yield f"u{i:02d}", path, text, f"s{i % 3}"


def _long(root):
  """(id, begin in seconds, text, speaker): all in one file, one after another.

  Its samples are those of the single files.
  """
  (root / "audio").mkdir()
  parts = [_wav(root / "audio/x.wav", i) for i in range(COUNT)]
  scipy.io.wavfile.write(root / "audio/x.wav", 16000, np.concatenate(parts))
  for i, text in enumerate(_texts()):
    yield f"u{i:02d}", i / 10, text, f"s{i % 3}"


def _table(root, name, header, delimiter=","):
  names = ["id", "path", "text", "speaker"]
  with open(root / name, "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(header)
    for row in _rows(root):
      values = dict(zip(names, row))
      writer.writerow([values[n.strip()] for n in header])
  return root / name


def librispeech(root):
  lines = [f"{key} {text}\n" for key, _, text, _ in _rows(root)]
  (root / "audio/x.trans.txt").write_text("".join(lines))
  return root


def tabs_in_trans(root):
  lines = [f"{key.upper()}\t{text}\n" for key, _, text, _ in _rows(root)]
  (root / "audio/x.trans.txt").write_text("".join(lines))
  return root


def text_beside(root):
  for _, path, text, _ in _rows(root):
    (root / path).with_suffix(".txt").write_text(text + "\n")
  (root / "audio/LICENSE.txt").write_text("free")
  return root


def kaldi(root):
  rows = list(_rows(root))
  (root / "wav.scp").write_text("".join(f"{r[0]} {r[1]}\n" for r in rows))
  (root / "text").write_text("".join(f"{r[0]} {r[2]}\n" for r in rows))
  (root / "utt2spk").write_text("".join(f"{r[0]} {r[3]}\n" for r in rows))
  return root


def kaldi_segments(root):
  rows = list(_long(root))
  (root / "wav.scp").write_text(f"rec {root}/audio/x.wav\n")
  (root / "text").write_text("".join(f"{r[0]} {r[2]}\n" for r in rows))
  (root / "utt2spk").write_text("".join(f"{r[0]} {r[3]}\n" for r in rows))
  (root / "segments").write_text(
    "".join(f"{r[0]} rec {r[1]:.2f} {r[1] + 0.1:.2f}\n" for r in rows)
  )
  return root


def ljspeech(root):
  lines = [
    f"{key}|raw {text}|{text}\n" for key, _, text, _ in _rows(root, "wavs")
  ]
  (root / "metadata.csv").write_text("".join(lines))
  return root


def audio_folder(root):
  rows = [(path, text) for _, path, text, _ in _rows(root)]
  with open(root / "metadata.csv", "w", newline="") as file:
    csv.writer(file).writerows([("file_name", "transcription"), *rows])
  return root


def table_with_blanks_in_the_header(root):
  return _table(root, "x.csv", [" id", "path ", " text", "speaker"])


def table_without_header(root):
  lines = [
    "\t".join([key, path, speaker, "0.1", text])
    for key, path, text, speaker in _rows(root)
  ]
  (root / "x.tsv").write_text("\n".join(lines))
  return root / "x.tsv"


def compressed_table(root):
  path = _table(root, "x.tsv", ["id", "path", "speaker", "text"], "\t")
  (root / "y.tsv.gz").write_bytes(gzip.compress(path.read_bytes()))
  return root / "y.tsv.gz"


def windows_separators(root):
  lines = ["path\ttext"]
  lines += [
    f"{path.replace('/', chr(92))} \t{text}" for _, path, text, _ in _rows(root)
  ]
  (root / "x.tsv").write_text("\n".join(lines))
  return root / "x.tsv"


def _nemo(root):
  for _, begin, text, speaker in _long(root):
    yield {
      "audio_filepath": "audio/x.wav",
      "offset": begin,
      "duration": 0.1,
      "text": text,
      "speaker": speaker,
    }


def nemo_segments(root):
  (root / "x.json").write_text("\n".join(map(json.dumps, _nemo(root))))
  return root / "x.json"


def compressed_nemo(root):
  content = "\n".join(map(json.dumps, _nemo(root))).encode()
  (root / "x.jsonl.gz").write_bytes(gzip.compress(content))
  return root / "x.jsonl.gz"


def _cut(root, key, begin, text, speaker):
  """As lhotse 1.33 writes one."""
  return {
    "id": key,
    "start": begin,
    "duration": 0.1,
    "channel": 0,
    "supervisions": [
      {
        "id": f"{key}-a",
        "recording_id": "x",
        "start": 0.0,
        "duration": 0.1,
        "channel": 0,
        "text": text,
        "speaker": speaker,
      }
    ],
    "recording": {
      "id": "x",
      "sources": [
        {"type": "file", "channels": [0], "source": f"{root}/audio/x.wav"}
      ],
      "sampling_rate": 16000,
      "num_samples": 19200,
      "duration": 1.2,
      "channel_ids": [0],
    },
    "type": "MonoCut",
  }


def lhotse_cuts(root):
  cuts = [_cut(root, *row) for row in _long(root)]
  content = "\n".join(map(json.dumps, cuts)).encode()
  (root / "cuts.jsonl.gz").write_bytes(gzip.compress(content))
  return root / "cuts.jsonl.gz"


FORMS = (
  librispeech,
  tabs_in_trans,
  text_beside,
  kaldi,
  kaldi_segments,
  ljspeech,
  audio_folder,
  table_with_blanks_in_the_header,
  table_without_header,
  compressed_table,
  windows_separators,
  nemo_segments,
  compressed_nemo,
  lhotse_cuts,
)
WITH_SPEAKERS = {
  kaldi,
  kaldi_segments,
  table_with_blanks_in_the_header,
  table_without_header,
  compressed_table,
  nemo_segments,
  compressed_nemo,
  lhotse_cuts,
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_gives_the_same_records(tmp_path, form):
  root = tmp_path / "corpus"
  root.mkdir()
  corpus = corpora.read_corpus(form(root))
  assert not corpus.skips
  records.write_records(corpus, tmp_path / "records", progress=False)
  opened = records.Records(tmp_path / "records")
  assert len(opened) == COUNT
  assert opened.texts == tuple(f"HELLO NUMBER {c}" for c in LETTERS)
  if form in WITH_SPEAKERS:
    assert opened.speakers == tuple(f"s{i % 3}" for i in range(COUNT))
  for i in range(COUNT):
    expected = np.random.default_rng(i).integers(-9000, 9000, 1600, np.int16)
    np.testing.assert_array_equal(opened.read(i), expected)


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    ({"type": "MixedCut"}, "a MixedCut is not read"),
    ({"recording": None}, "without a recording"),
    ({"recording.transforms": [{"name": "Speed"}]}, "transformed"),
    ({"source.type": "command"}, "a command is never run"),
    ({"source.type": "url"}, "a URL is not fetched"),
    ({"source.type": "memory"}, "sound in memory is not read"),
  ],
)
def test_cuts_that_are_skipped(tmp_path, change, reason):
  (tmp_path / "audio").mkdir()
  _wav(tmp_path / "audio/x.wav", 0, 1.2)
  cuts = [_cut(tmp_path, key, 0.1, "Hello", "s") for key in "ab"]
  for field, value in change.items():
    place, _, name = field.rpartition(".")
    target = cuts[1]
    if place:
      target = cuts[1]["recording"]
    if place == "source":
      target = target["sources"][0]
    target[name] = value
  path = tmp_path / "cuts.jsonl"
  path.write_text("\n".join(map(json.dumps, cuts)))
  corpus = corpora.read_corpus(path, max_missing_share=0.5)
  assert [u.id for u in corpus] == ["a"]
  (skip,) = corpus.skips
  assert skip.id == "b" and reason in skip.reason


def test_supervisions_and_channels_of_a_cut(tmp_path):
  (tmp_path / "audio").mkdir()
  _wav(tmp_path / "audio/x.wav", 0, 1.2)
  cut = _cut(tmp_path, "a", 0.1, "world", "s")
  first = {**cut["supervisions"][0], "start": -0.1, "text": "Hello"}
  cut["supervisions"].append({**first, "speaker": "t"})
  cut["recording"]["channel_ids"] = [4, 5]
  cut["recording"]["sources"][0]["channels"] = [4, 5]
  cut["channel"] = 5
  (tmp_path / "cuts.jsonl").write_text(json.dumps(cut))
  (utterance,) = corpora.read_corpus(tmp_path / "cuts.jsonl")
  assert (utterance.text, utterance.speaker) == ("HELLO WORLD", "")
  assert utterance.segment.channels == (1,)


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
def test_kaldi_entries_that_are_skipped(tmp_path, line, reason, monkeypatch):
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


def test_kaldi_recordings_without_a_segment_are_skipped(tmp_path):
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
def test_kaldi_lines_that_cannot_be_used(tmp_path, name, line):
  kaldi_segments(tmp_path)
  path = tmp_path / name
  before = path.read_text() if path.exists() else ""
  number = len(before.splitlines()) + 1
  path.write_text(before + line.replace("u00", "x") + "\n")
  with pytest.raises(ValueError, match=f"Line {number} of {path} must"):
    corpora.read_corpus(tmp_path)


def test_channels_and_open_ends_of_kaldi(tmp_path):
  left, right = (_wav(tmp_path / "x.wav", seed) for seed in (0, 1))
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


def test_what_is_not_read_says_so(tmp_path):
  rows = [
    {"audio_filepath": ["a.wav", "b.wav"], "text": "a"},
    {"audio_filepath": "c.wav", "shard_id": 0, "text": "a"},
    {"audio_filepath": ["d.wav"], "text": "a"},
  ]
  _wav(tmp_path / "d.wav", 0)
  path = tmp_path / "x.json"
  path.write_text("\n".join(map(json.dumps, rows)))
  corpus = corpora.read_corpus(path, max_missing_share=1)
  assert [u.id for u in corpus] == ["d"]
  assert "channels of one utterance" in corpus.skips[0].reason
  assert "tar archives are not read" in corpus.skips[1].reason
  (tmp_path / "x.tar").write_bytes(b"")
  with pytest.raises(ValueError, match="archives .* are unpacked first"):
    corpora.read_corpus(tmp_path / "x.tar")


def test_a_compressed_file_that_is_cut(tmp_path):
  path = compressed_nemo(tmp_path)
  path.write_bytes(path.read_bytes()[:-20])
  with pytest.raises(ValueError, match="must be a readable file"):
    corpora.read_corpus(path)


@pytest.mark.parametrize("line", ["a", "a|b|c|d", "|b"])
def test_ljspeech_lines_that_cannot_be_used(tmp_path, line):
  ljspeech(tmp_path)
  path = tmp_path / "metadata.csv"
  path.write_text(path.read_text() + line + "\n")
  with pytest.raises(ValueError, match=f"Line {COUNT + 1} of {path} must have"):
    corpora.read_corpus(tmp_path)

"""One corpus in every form that people have: a function writes each."""

import csv
import gzip
import json

import numpy as np
import scipy.io.wavfile

COUNT = 12
LETTERS = "ABCDEFGHIJKL"


def _texts():
  return [f"Hello, number {letter}!" for letter in LETTERS]


def write_wav(path, seed, seconds=0.1):
  path.parent.mkdir(parents=True, exist_ok=True)
  random = np.random.default_rng(seed)
  samples = random.integers(-9000, 9000, int(16000 * seconds), np.int16)
  scipy.io.wavfile.write(path, 16000, samples)
  return samples


def _rows(root, folder="audio"):
  """(id, path from root, text, speaker) of each utterance, the files made."""
  for i, text in enumerate(_texts()):
    path = f"{folder}/u{i:02d}.wav"
    write_wav(root / path, i)
    yield f"u{i:02d}", path, text, f"s{i % 3}"


def _long(root):
  """(id, begin in seconds, text, speaker): all in one file, one after another.

  Its samples are those of the single files.
  """
  (root / "audio").mkdir()
  parts = [write_wav(root / "audio/x.wav", i) for i in range(COUNT)]
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


def lhotse_cut(root, key, begin, text, speaker):
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
  cuts = [lhotse_cut(root, *row) for row in _long(root)]
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

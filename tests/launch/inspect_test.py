"""launch.inspect as a command, on corpora with known faults."""

import json
import re

import numpy as np
import pytest
import soundfile

from launch import inspect
from launch.inspection import reporting
from tf_pcc.data import audio, corpora, records, text


def _corpus(folder, count=40):
  """Noise of 10 characters a second, one fault each in the first rows."""
  folder.mkdir()
  random, again = np.random.default_rng(0), None
  lines = ["id\tpath\tspeaker\ttext"]
  for i in range(count):
    words = " ".join(["hello"] * (1 + i % 8)) + f" {'ab'[i % 2]}"
    seconds = 0.5 + len(words.replace(" ", "")) / 10
    rate = 8000 if i % 2 else 16000
    wave = 0.1 * random.standard_normal(int(seconds * rate))
    if i == 0:
      wave *= 1e-6
    if i == 1:
      wave = np.clip(wave * 30, -1, 1)
    if i == 2:
      wave = np.tile(wave, 5)
    if i == 3:
      words = words + " [beep] 5"
    if i == 4:
      again = wave
    if i == 6:
      wave = again
    soundfile.write(folder / f"{i}.wav", wave, rate)
    lines.append(f"u{i:02d}\t{i}.wav\ts{i % 3}\t{words}!")
  lines.append("lost\tlost.wav\ts\thello")
  (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")
  (folder / "9.wav").write_bytes((folder / "9.wav").read_bytes()[:100])
  return folder


def test_faults_are_found(run_program, tmp_path):
  corpus = _corpus(tmp_path / "corpus")
  paths = {name: tmp_path / name for name in ("a.json", "a.png", "a.m3u")}
  text.build_tokenizer("character", ["HELO AB"]).save(tmp_path / "v.json")
  done = run_program(
    "inspect",
    str(corpus),
    f"--json={paths['a.json']}",
    f"--png={paths['a.png']}",
    f"--play_list={paths['a.m3u']}",
    f"--tokenizer={tmp_path / 'v.json'}",
  )
  assert done.code == 0, done.stderr
  found = json.loads(paths["a.json"].read_text())
  assert found["utterances"] == 39 and found["speakers"] == 3
  assert {key for key, _ in found["skipped"]} == {"lost", "u09"}
  assert found["silent"] == 1 and found["clipped"] == 1
  assert found["repeated_sounds"] == 1
  assert sum(found["histogram"]["counts"]) == 39
  assert found["rates"] == {"16000": 20, "8000": 19}
  assert found["dropped"] == {"!": 39, "[": 1, "]": 1}
  assert found["unknown"] == {"P": 1, "5": 1} and found["unencodable"] == 1
  reasons = {d["id"]: "; ".join(d["reasons"]) for d in found["suspicious"]}
  assert "silent" in reasons["u00"] and "clipped" in reasons["u01"]
  assert "characters a second" in reasons["u02"]
  assert "brackets: [beep]" in reasons["u03"] and "digits: 5" in reasons["u03"]
  assert "the same sound as u04, which has" in reasons["u06"]
  assert set(reasons) == {"u00", "u01", "u02", "u03", "u06"}
  assert found["advice"] == ""
  for part in (
    "39 utterances",
    "####",
    "u06: the same sound",
    "lost: not at",
    "utterances by the rate of their file: 19 at 8000 Hz, 20 at 16000 Hz",
  ):
    assert part in done.stdout
  assert "40/40" in done.stderr
  assert paths["a.png"].read_bytes()[:4] == b"\x89PNG"
  listed = paths["a.m3u"].read_text().splitlines()
  assert listed[0] == "#EXTM3U"
  assert sum(line.startswith("/") for line in listed) == 5 + 20


def test_records_are_looked_at_as_the_corpus_is(tmp_path):
  corpus = corpora.read_corpus(_corpus(tmp_path / "corpus"))
  records.write_records(corpus, tmp_path / "records", progress=False)
  of_corpus, _ = inspect.inspect(tmp_path / "corpus", progress=False)
  of_records, opened = inspect.inspect(
    str(tmp_path / "records"), progress=False
  )
  for name in ("utterances", "hours", "seconds", "silent", "repeated_sounds"):
    assert of_records[name] == pytest.approx(of_corpus[name])
  assert of_records["rates"] == {"unknown": 39}
  assert "39 at unknown rate" in reporting.report(of_records)
  # Records are in no file that a player plays.
  assert reporting.play_list(of_records, opened) == "#EXTM3U\n"


def test_files_whose_rate_is_not_known_beside_others(tmp_path, monkeypatch):
  corpus = _corpus(tmp_path / "corpus", 10)
  # As of m4a, which soundfile does not read.
  header = audio.header
  monkeypatch.setattr(
    audio,
    "header",
    lambda path: None if str(path).endswith("5.wav") else header(path),
  )
  found, _ = inspect.inspect(corpus, progress=False)
  assert list(found["rates"].items()) == [
    ("8000", 3),
    ("16000", 5),
    ("unknown", 1),
  ]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ([], "one corpus.*Received: none"),
    (["a", "b"], "Received: a b"),
    (["/nowhere"], "path=/nowhere"),
    (["/tmp", "--json=/nowhere/x.json"], "--json"),
    (["/tmp", "--tokenizer=/nowhere.json"], "nowhere.json"),
    (["CORPUS", "--normalizer=loud"], "normalizer='loud'"),
  ],
)
def test_user_errors_are_one_line(run_program, tmp_path, arguments, message):
  corpus = str(_corpus(tmp_path / "corpus", 10))
  arguments = [a.replace("CORPUS", corpus) for a in arguments]
  done = run_program("inspect", *arguments)
  assert done.code == 1
  assert re.search(message, done.complaint)

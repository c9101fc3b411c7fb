"""launch.prepare as a command: what it makes, and how it refuses."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.io.wavfile

from launch.runs import datasets
from tf_pcc.data import normalizers, records

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "launch.prepare", *arguments],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    check=False,
    timeout=200,
  )


def _corpus(folder, rate=8000, count=21):
  folder.mkdir()
  lines = ["id\tpath\tspeaker\ttext"]
  for i in range(count):
    tone = (8000 * np.sin(np.arange(rate // 2) * 0.1)).astype(np.int16)
    stereo = np.stack([tone, tone], axis=1)
    scipy.io.wavfile.write(folder / f"{i}.wav", rate, stereo)
    lines.append(f"u{i:02d}\t{i}.wav\ts\thello number")
  (folder / "manifest.tsv").write_text("\n".join(lines))
  return folder


def test_stereo_at_8_khz_with_one_broken_file(tmp_path):
  corpus = _corpus(tmp_path / "corpus")
  (corpus / "3.wav").write_bytes((corpus / "3.wav").read_bytes()[:500])
  done = _run(
    f"--corpus={corpus}", f"--output={tmp_path / 'out'}", "--shards=2"
  )
  assert done.returncode == 0, done.stderr
  assert "20 utterances" in done.stdout
  assert "1 unreadable recordings" in done.stdout
  assert "skipped u03" in done.stderr
  opened = records.Records(tmp_path / "out")
  assert opened.sample_rate == 16000 and set(opened.samples) == {8000}
  assert [skip["id"] for skip in opened.index["skipped"]] == ["u03"]
  left_out = (tmp_path / "out" / "left_out.tsv").read_text().splitlines()
  assert left_out[0] == "id\treason" and left_out[1].startswith("u03\t")
  assert len(left_out) == 2


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--output=OUT"], "--corpus"),
    (["--corpus=CORPUS"], "--output"),
    (["--corpus=CORPUS", "--output=OUT", "--rate=8000"], "'rate'"),
    (["--corpus=CORPUS", "--output=OUT", "--shards=0"], "shards=0"),
    (["--corpus=CORPUS", "--output=OUT", "--shards=9"], "shards=9"),
    (["--corpus=CORPUS", "--output=OUT", "more"], "more"),
    (["--corpus=CORPUS", "--output=OUT", "--runner=spark"], "<local|beam>"),
    (["--corpus=CORPUS", "--output=OUT", "--", "--streaming"], "--streaming"),
    (
      ["--corpus=CORPUS", "--output=OUT", "--runner=beam", "--processes"],
      "runner=beam, processes=True",
    ),
    (["--corpus=CORPUS", "--output=/proc/x/y"], "output_dir=/proc/x/y"),
    (
      ["--corpus=CORPUS", "--output=CORPUS/manifest.tsv/y"],
      "manifest.tsv/y",
    ),
    (["--corpus=/nowhere/at/all", "--output=OUT"], "path=/nowhere/at/all"),
    (["--corpus=CORPUS", "--output=CORPUS"], "never overwritten"),
  ],
)
def test_user_errors_are_one_line(run_program, tmp_path, arguments, message):
  corpus = _corpus(tmp_path / "corpus", count=3)
  replaced = [
    a.replace("CORPUS", str(corpus)).replace("OUT", str(tmp_path / "out"))
    for a in arguments
  ]
  done = run_program("prepare", *replaced)
  assert done.code == 1 and message in done.complaint
  assert not list(tmp_path.glob("out*"))


@pytest.mark.skipif(
  importlib.util.find_spec("apache_beam") is None,
  reason="apache-beam is not installed (extra beam)",
)
def test_two_workers_of_beam_make_the_same_files(run_program, tmp_path):
  corpus = _corpus(tmp_path / "corpus")
  (corpus / "3.wav").write_bytes((corpus / "3.wav").read_bytes()[:500])
  found = []
  for name, flags in (
    ("local", []),
    ("beam", ["--runner=beam", "--workers=2"]),
  ):
    output = tmp_path / name
    done = run_program(
      "prepare",
      f"--corpus={corpus}",
      f"--output={output}",
      "--shards=4",
      *flags,
    )
    assert done.code == 0, done.stderr
    assert "20 utterances" in done.stdout
    assert done.stderr.count("skipped u03: ") == 1
    found.append({p.name: p.read_bytes() for p in output.iterdir()})
  assert found[0] == found[1] and b"u03" in found[0]["left_out.tsv"]


def test_stopped_it_says_that_it_goes_on(tmp_path):
  # The first Ctrl-C arrives while shards are written.
  code = (
    "import runpy\n"
    "from tf_pcc.data import audio\n"
    "def stop(*_, **__):\n"
    "  raise KeyboardInterrupt\n"
    "audio.load = stop\n"
    "runpy.run_module('launch.prepare', run_name='__main__')\n"
  )
  corpus, output = _corpus(tmp_path / "corpus", count=3), tmp_path / "out"
  done = subprocess.run(
    [sys.executable, "-c", code, f"--corpus={corpus}", f"--output={output}"],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    check=False,
    timeout=200,
  )
  assert done.returncode == 130 and "Traceback" not in done.stderr
  assert "the same command goes on from here" in done.stderr
  assert output.with_suffix(".partial").exists() and not output.exists()
  assert _run(f"--corpus={corpus}", f"--output={output}").returncode == 0
  assert len(records.Records(output)) == 3


def test_what_the_normalizer_leaves_out_is_printed(run_program, tmp_path):
  corpus = _corpus(tmp_path / "corpus", count=3)
  manifest = corpus / "manifest.tsv"
  text = "\u0130ki \u00e7ay, 50% ucuz"
  manifest.write_text(manifest.read_text().replace("hello number", text))
  for name, expected, said in (
    ("tf_pcc.data.normalizers:turkish", "iki \u00e7ay 50 ucuz", "3 %"),
    ("upper", "IKI CAY 50 UCUZ", "3 \u00e7"),
    ("none", text, ""),
  ):
    output = tmp_path / name
    done = run_program(
      "prepare",
      f"--corpus={corpus}",
      f"--output={output}",
      f"--normalizer={name}",
    )
    assert done.code == 0, done.stderr
    assert set(records.Records(output).texts) == {expected}
    assert records.Records(output).normalizer == normalizers.signature(name)
    assert (f"the normalizer {name} left out" in done.stdout) == bool(said)
    assert said in done.stdout
    assert ("take the normalizer" in done.stdout) == (name == "upper")
    look = f"launch.inspect {output}"
    look += "" if name == "upper" else f" --normalizer={name}"
    assert f"{look}\n" in done.stdout
    assert not said or f"u00: {text} -> {expected}" in done.stdout


@pytest.mark.parametrize("keep", [False, True])
def test_recordings_of_silence_are_kept_if_that_is_asked(
  run_program, tmp_path, keep
):
  corpus = _corpus(tmp_path / "corpus")
  manifest = corpus / "manifest.tsv"
  lines = manifest.read_text().splitlines()
  for i in (2, 4):
    *fields, _ = lines[i].split("\t")
    lines[i] = "\t".join([*fields, ""])
  manifest.write_text("\n".join(lines))
  output = tmp_path / "out"
  done = run_program(
    "prepare",
    f"--corpus={corpus}",
    f"--output={output}",
    "--max_missing_share=0.5",
    *["--keep_empty"] * keep,
  )
  assert done.code == 0, done.stderr
  texts = list(records.Records(output).texts)
  left_out = (output / "left_out.tsv").read_text().splitlines()[1:]
  assert texts.count("") == 2 * keep
  assert len(texts) + len(left_out) == len(lines) - 1
  assert len(left_out) == 2 * (not keep)
  speech = datasets.open_any(output)
  assert list(speech.texts) == texts


@pytest.mark.slow
@pytest.mark.parametrize(
  ("folder", "count", "encoding"),
  [
    ("librispeech_flac", 200, "pcm16"),
    ("librispeech_flac", 200, "flac"),
    ("librispeech_mp3", 846, "pcm16"),
    ("spoken_digits", 2000, "pcm16"),
  ],
)
def test_real_speech_loses_nothing(
  tmp_path, shared_data, folder, count, encoding
):
  done = _run(
    f"--corpus={shared_data / folder}",
    f"--output={tmp_path / 'out'}",
    "--shards=4",
    f"--encoding={encoding}",
  )
  assert done.returncode == 0, done.stderr
  opened = records.Records(tmp_path / "out")
  assert len(opened) == count and not opened.index["skipped"]
  opened.verify()
  assert all(len(opened.read(i)) == n for i, n in enumerate(opened.samples))


@pytest.mark.parametrize(
  ("arguments", "kept", "reasons"),
  [
    ([], 18, {"u03": "truncated", "u05": "truncated", "u07": "not at"}),
    (["--first=5"], 4, {"u03": "truncated", "u05": "after", "u07": "not at"}),
    (["--max_seconds=0.6"], 16, {"u03": "truncated", "u09": "0.75 s, longer"}),
    (["--exclude=IDS"], 17, {"u00": "--exclude", "u03": "truncated"}),
  ],
)
def test_every_line_is_in_the_records_or_left_out(
  run_program, tmp_path, arguments, kept, reasons
):
  corpus = _corpus(tmp_path / "corpus")
  for i in (3, 5):
    path = corpus / f"{i}.wav"
    path.write_bytes(path.read_bytes()[:500])
  (corpus / "7.wav").unlink()
  for i in (9, 11):
    scipy.io.wavfile.write(corpus / f"{i}.wav", 8000, np.ones(6000, np.int16))
  (tmp_path / "ids").write_text("u00\n\nnobody \n")
  done = run_program(
    "prepare",
    f"--corpus={corpus}",
    f"--output={tmp_path / 'out'}",
    "--max_skipped_share=0.5",
    *(a.replace("IDS", str(tmp_path / "ids")) for a in arguments),
  )
  assert done.code == 0, done.stderr
  opened = records.Records(tmp_path / "out")
  assert len(opened) == kept
  lines = (tmp_path / "out" / "left_out.tsv").read_text().splitlines()[1:]
  left_out = dict(line.split("\t") for line in lines)
  assert len(left_out) == len(lines)
  assert sorted([*opened.ids, *left_out]) == [f"u{i:02d}" for i in range(21)]
  for key, reason in reasons.items():
    assert reason in left_out[key]
  assert f"{kept} utterances" in done.stdout
  assert "characters a second" in done.stdout
  assert ("1 ids of --exclude" in done.stderr) == ("IDS" in str(arguments))

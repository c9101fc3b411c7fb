"""launch.prepare as a command: what it makes, and how it refuses."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.io.wavfile

from tf_pcc.data import records

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


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--output=OUT"], "--corpus"),
    (["--corpus=/nowhere/at/all", "--output=OUT"], "path=/nowhere/at/all"),
    (["--corpus=CORPUS", "--output=CORPUS"], "never overwritten"),
  ],
)
def test_user_errors_are_one_message(tmp_path, arguments, message):
  corpus = _corpus(tmp_path / "corpus", count=3)
  replaced = [
    a.replace("CORPUS", str(corpus)).replace("OUT", str(tmp_path / "out"))
    for a in arguments
  ]
  done = _run(*replaced)
  assert done.returncode == 1
  assert message in done.stderr and "Traceback" not in done.stderr
  assert not list(tmp_path.glob("out*"))


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

"""launch.transcribe: a line a file, whatever the others are."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from launch.recognition import driver
from launch.runs import opening
from tf_pcc.data import records


@pytest.fixture
def speech(recordings):
  path = next(iter(recordings))
  return soundfile.read(path)[0]


def test_formats_rates_and_channels(run_program, saved_run, speech, tmp_path):
  stereo = np.stack([speech, speech], axis=1)
  for name, samples in (
    ("a.wav", speech),
    ("b.flac", speech),
    ("c.ogg", speech),
    ("d.wav", stereo),
  ):
    soundfile.write(tmp_path / name, samples, 16000)
  soundfile.write(tmp_path / "e.wav", speech[::2], 8000)
  soundfile.write(tmp_path / "f.mp3", speech, 16000)
  # Shorter than a frame of the features.
  soundfile.write(tmp_path / "g.wav", speech[:100], 16000)
  paths = [str(path) for path in sorted(tmp_path.iterdir())]
  done = run_program("transcribe", f"--workdir={saved_run}", *paths)
  assert done.code == 0, done.stderr
  lines = dict(line.split("\t") for line in done.stdout.splitlines())
  assert list(lines) == paths
  model, tokenizer, *_ = opening.load_model(str(saved_run))
  (expected,) = driver.Driver(model, tokenizer).transcribe(
    records.MemoryRecords([speech], [""])
  )
  assert expected
  by_name = {path.rsplit("/", 1)[1]: text for path, text in lines.items()}
  for name in ("a.wav", "b.flac", "d.wav"):
    assert by_name[name] == expected


def test_unreadable_files_are_named_and_the_rest_is_done(
  run_program, saved_run, speech, tmp_path
):
  good = tmp_path / "good.wav"
  soundfile.write(good, speech, 16000)
  (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:200])
  (tmp_path / "text.flac").write_text("not audio")
  soundfile.write(tmp_path / "empty.wav", speech[:0], 16000)
  bad = [tmp_path / n for n in ("cut.wav", "text.flac", "empty.wav", "none")]
  done = run_program(
    "transcribe", f"--workdir={saved_run}", bad[0], good, *bad[1:], tmp_path
  )
  assert done.code == 1 and "Traceback" not in done.stderr
  assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
    str(good)
  ]
  for path in [*bad, tmp_path]:
    assert f"launch.transcribe: {path}: " in done.stderr


def test_nothing_is_imported_that_greedy_search_does_not_use():
  """What TensorFlow and Keras import by themselves cannot be helped."""
  ours = "launch.", "models.", "tf_pcc."
  code = (
    "import sys, tensorflow, keras, ml_collections.config_flags\n"
    "before = set(sys.modules)\n"
    "import launch.transcribe\n"
    "print(*sorted(set(sys.modules) - before))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  found = [name for name in done.stdout.split() if not name.startswith(ours)]
  packages = {name.partition(".")[0] for name in found}
  heavy = {"scipy", "matplotlib", "jiwer", "jinja2", "soundfile", "kenlm"}
  assert not packages & (heavy | {"tensorflow_io", "tensorflow_text"})
  assert "tf_pcc.audit" not in done.stdout.split()


def test_a_pipe_does_not_block(run_program, saved_run, speech, tmp_path):
  good = tmp_path / "good.wav"
  soundfile.write(good, speech, 16000)
  os.mkfifo(tmp_path / "pipe.wav")
  done = run_program(
    "transcribe", f"--workdir={saved_run}", tmp_path / "pipe.wav", good
  )
  assert done.code == 1 and "pipe.wav: " in done.stderr
  assert done.stdout.startswith(f"{good}\t")


def test_without_files(run_program, saved_run):
  done = run_program("transcribe", f"--workdir={saved_run}")
  assert "at least one audio file" in done.complaint

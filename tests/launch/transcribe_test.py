"""launch.transcribe: a line a file, whatever the others are."""

import numpy as np
import pytest
import soundfile

from launch.recognition import error_rates
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
  (expected,) = error_rates.transcribe(
    model, tokenizer, records.MemoryRecords([speech], [""])
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


def test_without_files(run_program, saved_run):
  done = run_program("transcribe", f"--workdir={saved_run}")
  assert "at least one audio file" in done.complaint

"""Processes make the bytes that threads make, and say when one was killed."""

import dataclasses
import os
import pathlib
import signal

import numpy as np
import pytest
import soundfile

from tf_pcc.data import records, running
from tf_pcc.data.utterances import Utterance


def content(folder):
  """The bytes of all files of a folder, by name."""
  return {p.name: p.read_bytes() for p in pathlib.Path(folder).iterdir()}


def recordings(folder, count=12):
  """Utterances of noise in files, one of them cut off."""
  folder.mkdir()
  random = np.random.default_rng(0)
  result = []
  for i in range(count):
    path = folder / f"{i}.flac"
    soundfile.write(path, random.uniform(-0.5, 0.5, 800 + 90 * i), 16000)
    result.append(Utterance(f"u{i:02d}", str(path), f"TEXT {i}"))
  (folder / "3.flac").write_bytes((folder / "3.flac").read_bytes()[:600])
  return result


@dataclasses.dataclass(frozen=True)
class Killed:
  """Rows whose process is killed among them, while a file is there."""

  rows: list
  flag: str

  def __call__(self):
    yield self.rows[0]
    if os.path.exists(self.flag):
      os.kill(os.getpid(), signal.SIGKILL)
    yield from self.rows[1:]


def sources(flag=""):
  """Four shards of three utterances, the third of which is `Killed`."""
  pairs = [
    (Utterance(f"u{i}", "", "A"), np.full(100 + i, i, np.int16))
    for i in range(12)
  ]
  parts = [Killed(pairs[i : i + 3], "") for i in range(0, 12, 3)]
  parts[2] = dataclasses.replace(parts[2], flag=flag)
  return [(3, part) for part in parts]


def write(path, flag="", runner=None):
  """Writes `sources` as records."""
  return records.write_shards(
    sources(flag), path, "key", progress=False, runner=runner
  )


def test_processes_make_the_same_files(tmp_path, caplog):
  utterances = recordings(tmp_path / "corpus")
  indices = [
    records.write_records(
      utterances,
      tmp_path / name,
      shards=5,
      encoding="flac",
      max_skipped_share=0.1,
      progress=False,
      runner=runner,
    )
    for name, runner in (
      ("threads", running.threads(2)),
      ("processes", running.processes(2)),
    )
  ]
  assert content(tmp_path / "threads") == content(tmp_path / "processes")
  assert indices[0] == indices[1]
  assert [skip["id"] for skip in indices[1]["skipped"]] == ["u03"]
  assert caplog.text.count("skipped u03: ") == 2


def test_a_killed_process_is_named_and_its_shard_made_again(tmp_path):
  flag = tmp_path / "flag"
  flag.touch()
  with pytest.raises(ValueError, match="the same command goes on"):
    write(tmp_path / "r", str(flag), running.processes(1))
  assert not (tmp_path / "r").exists()
  partial = tmp_path / "r.partial"
  finished = {p.name: p.stat().st_mtime_ns for p in partial.glob("0*.tfrecord")}
  assert len(finished) == 2
  flag.unlink()
  write(tmp_path / "r", str(flag))
  for name, when in finished.items():
    assert (tmp_path / "r" / name).stat().st_mtime_ns == when
  write(tmp_path / "whole")
  assert content(tmp_path / "r") == content(tmp_path / "whole")


def test_what_other_processes_cannot_read_is_refused(tmp_path):
  pair = (Utterance("u", "", "A"), np.zeros(10, np.int16))
  with pytest.raises(ValueError, match="--runner=local and threads"):
    records.write_shards(
      [(1, lambda: [pair])],
      tmp_path / "r",
      "key",
      progress=False,
      runner=running.processes(1),
    )
  assert not (tmp_path / "r").exists()

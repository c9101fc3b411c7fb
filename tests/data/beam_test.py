"""Apache Beam makes the bytes that threads make, whatever happens meanwhile."""

import dataclasses
import importlib.util
import os
import pathlib
import sys

import pytest

from tests.data import running_test
from tf_pcc.data import beam, records
from tf_pcc.data.shard_task import Rows, ShardTask

needs_beam = pytest.mark.skipif(
  importlib.util.find_spec("apache_beam") is None,
  reason="apache-beam is not installed (extra beam)",
)


@dataclasses.dataclass(frozen=True)
class Failing:
  """Rows that cannot be had."""

  def __call__(self):
    raise OSError("the disk is on fire")


def _task(folder):
  """A task of one recording, in a partial directory."""
  [utterance] = running_test.recordings(folder / "corpus", 4)[:1]
  rows = Rows(((utterance, None),), 16000, (utterance.path,))
  return ShardTask(str(folder / "s.tfrecord"), 0, 1, rows, "pcm16", 16000)


@needs_beam
def test_a_killed_worker_is_named_and_its_shard_made_again(tmp_path):
  flag = tmp_path / "flag"
  flag.touch()
  with pytest.raises(ValueError, match="a worker was killed; the same command"):
    running_test.write(tmp_path / "r", str(flag), beam.Beam(workers=2))
  partial = tmp_path / "r.partial"
  assert not (tmp_path / "r").exists()
  finished = {p.name: p.stat().st_mtime_ns for p in partial.glob("0*.tfrecord")}
  assert "00002-of-00004.tfrecord" not in finished
  flag.unlink()
  # By another runner, which is as well and takes less time.
  running_test.write(tmp_path / "r", str(flag))
  for name, when in finished.items():
    assert (tmp_path / "r" / name).stat().st_mtime_ns == when
  running_test.write(tmp_path / "whole")
  content = running_test.content
  assert content(tmp_path / "r") == content(tmp_path / "whole")


@needs_beam
def test_a_worker_that_fails_says_why_in_one_line(tmp_path):
  with pytest.raises(ValueError, match=r"OSError: the disk is on fire$"):
    records.write_shards(
      [(1, Failing())],
      tmp_path / "r",
      "key",
      progress=False,
      runner=beam.Beam(["--direct_running_mode=in_memory"], workers=1),
    )
  assert not (tmp_path / "r").exists()


@needs_beam
@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--runner=NoSuch"], "runner: NoSuch. Valid values are .* Received: --r"),
    (["--direct_running_mode=x"], "invalid choice: 'x'"),
  ],
)
def test_flags_that_beam_refuses_are_named_before_the_work(flags, message):
  with pytest.raises(ValueError, match=message) as found:
    beam.Beam(flags).check()
  assert "\n" not in str(found.value)


@needs_beam
def test_workers_are_those_of_this_machine():
  assert "--direct_num_workers=3" in beam.Beam(workers=3).all_flags()
  flags = ["--runner=FlinkRunner", "--flink_master=host:8081"]
  assert beam.Beam(flags).all_flags() == flags
  with pytest.raises(ValueError, match="workers=2, flags=--runner=Flink"):
    beam.Beam(flags, workers=2)


def test_without_beam_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(ImportError, match=r"pip install 'tf_pcc\[beam\]'"):
    beam.Beam()


def test_a_worker_makes_a_shard_once(tmp_path):
  place = beam.stage(_task(tmp_path))
  shard = tmp_path / "s.tfrecord"
  beam.finish(place)
  when = shard.stat().st_mtime_ns
  beam.finish(place)
  assert shard.stat().st_mtime_ns == when


def test_a_worker_that_does_not_see_the_files_fails(tmp_path):
  """It must not skip what it does not see as if it was damaged."""
  task = _task(tmp_path)
  place = beam.stage(task)
  [source] = task.sources
  os.rename(source, source + ".away")
  with pytest.raises(FileNotFoundError, match="see all recordings.*0.flac on "):
    beam.finish(place)
  os.unlink(place[0])
  with pytest.raises(FileNotFoundError, match="see the folder of the records"):
    beam.finish(place)
  assert not (tmp_path / "s.tfrecord").exists()


def test_a_task_of_another_call_is_refused(tmp_path):
  path, digest = beam.stage(_task(tmp_path))
  pathlib.Path(path).write_bytes(b"something else")
  with pytest.raises(ValueError, match="is of another call"):
    beam.finish((path, digest))

"""One training in a directory: locked, or by a record that lives."""

import dataclasses
import json
import os
import socket
import subprocess
import time

import pytest
import tensorflow as tf

from launch.runs import ownership
from tests import workers
from tf_pcc import files, locks, remote_locks

HOLDER = """
import sys
from launch.runs import ownership
with ownership.hold(sys.argv[1]):
  print("has it", flush=True)
  sys.stdin.readline()
"""


@pytest.fixture
def remote(request):
  """An empty remote directory of this test's own."""
  directory = f"ram://ownership_test/{request.node.name}"
  tf.io.gfile.makedirs(directory)
  return directory


@pytest.fixture
def hasty(monkeypatch):
  """Nobody waits; what a wait would see is made by `sleeps`."""
  sleeps = []

  def sleep(seconds):
    if sleeps:
      sleeps.pop(0)()

  monkeypatch.setattr(ownership, "_PATIENCE_SECONDS", 0)
  monkeypatch.setattr(time, "sleep", sleep)
  return sleeps


@pytest.fixture
def holder(tmp_path):
  """A process that owns tmp_path."""
  with workers.holding(HOLDER, tmp_path, TF_CPP_MIN_LOG_LEVEL="3") as process:
    yield process


def test_a_second_process_is_told_who_the_first_is(holder, tmp_path, hasty):
  with (
    pytest.raises(ValueError, match="one training at a time") as error,
    ownership.hold(str(tmp_path)),
  ):
    pass
  message = str(error.value)
  assert f"process {holder.pid} on {socket.gethostname()}, since 20" in message
  assert f"workdir={tmp_path}" in message
  # The command that has to be looked for.
  assert "from launch.runs import ownership" in message
  # The record is the owner's still.
  found = files.read_json(tmp_path / ownership.RECORD)
  assert found["pid"] == holder.pid
  holder.communicate("")
  assert os.listdir(tmp_path) == [".training.lock"]
  with ownership.hold(str(tmp_path)) as require_mine:
    require_mine()


def test_a_killed_process_owns_nothing(holder, tmp_path, hasty):
  holder.kill()
  holder.wait()
  assert (tmp_path / ownership.RECORD).exists()
  with ownership.hold(str(tmp_path)):
    found = files.read_json(tmp_path / ownership.RECORD)
    assert found["pid"] == os.getpid()


def test_one_that_was_asked_to_stop_is_waited_for(
  holder, tmp_path, monkeypatch
):
  class Log:
    info = staticmethod(lambda *_: holder.communicate(""))

  monkeypatch.setattr(ownership, "logging", Log)
  with ownership.hold(str(tmp_path)):
    pass


def test_who_does_not_write_owns_nothing(tmp_path):
  with ownership.hold(str(tmp_path / "new"), writes=False) as require_mine:
    require_mine()
  assert os.listdir(tmp_path) == []


def _record(remote, **fields):
  owner = locks.Owner("another-host", 7, "2024-01-01T00:00:00+00:00", "t")
  owner = dataclasses.replace(owner, **fields)
  files.write_json(
    files.join(remote, ownership.RECORD), dataclasses.asdict(owner)
  )


def _listed(remote):
  return tf.io.gfile.listdir(remote)


def test_a_remote_owner_that_lives_is_named(remote, hasty):
  _record(remote)
  hasty[:] = [lambda: None, lambda: _record(remote, beat=1)]
  with (
    pytest.raises(ValueError, match="process 7 on another-host, since 2024"),
    ownership.hold(remote),
  ):
    pass
  assert files.read_json(files.join(remote, ownership.RECORD))["beat"] == 1


def test_a_remote_owner_that_is_silent_is_gone(remote, hasty):
  _record(remote)
  with ownership.hold(remote):
    found = files.read_json(files.join(remote, ownership.RECORD))
    assert found["pid"] == os.getpid()
  assert _listed(remote) == []


@pytest.mark.parametrize("pid", ["own", "dead"])
def test_a_remote_owner_that_died_here_is_not_waited_for(remote, hasty, pid):
  child = subprocess.Popen(["true"])
  child.wait()
  pids = {"own": os.getpid(), "dead": child.pid}
  _record(remote, host=socket.gethostname(), pid=pids[pid])

  # The one wait is that after writing.
  def wait():
    found = files.read_json(files.join(remote, ownership.RECORD))
    assert found["token"] != "t"

  hasty[:] = [wait]
  with ownership.hold(remote):
    assert hasty == []


def test_of_two_that_start_at_once_the_last_writer_has_it(remote, hasty):
  hasty[:] = [lambda: _record(remote)]
  with (
    pytest.raises(ValueError, match="process 7 on another-host"),
    ownership.hold(remote),
  ):
    pass


def test_a_remote_owner_beats_and_sees_that_it_was_replaced(
  remote, hasty, monkeypatch
):
  monkeypatch.setattr(remote_locks, "_BEAT_SECONDS", 0.01)
  path = files.join(remote, ownership.RECORD)
  pause = tf.constant  # Any call that lets the other thread run.
  with ownership.hold(remote) as require_mine:
    while files.read_json(path)["beat"] < 2:
      pause(0)
    require_mine()
    with pytest.raises(ValueError, match="process 7 on another-host"):
      while True:
        _record(remote)
        require_mine()
  # What is another's is left alone.
  assert files.read_json(path)["pid"] == 7


@pytest.mark.parametrize("damage", ["", "[]", '{"pid": 1}', "{"])
def test_a_damaged_record_is_no_owner(remote, hasty, damage):
  files.write_text(files.join(remote, ownership.RECORD), damage)
  with ownership.hold(remote):
    pass


def test_a_second_training_is_refused_in_one_line(
  run_program, write_config, holder, tmp_path
):
  done = run_program("train", write_config(), f"--workdir={tmp_path}")
  assert done.code == 1
  assert f"owner: process {holder.pid} on" in done.complaint
  assert json.loads((tmp_path / ownership.RECORD).read_text())["pid"] == (
    holder.pid
  )
  assert not (tmp_path / "config.json").exists()

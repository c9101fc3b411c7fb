"""Signals to launch/tpu_vm.sh at any moment, with a stand-in for the cloud."""

import os
import signal
import subprocess
import time

import pytest

from tests.launch.tpu_cloud import DELETE, Cloud, clean_calls

COMMAND = f"launch/tpu_vm.sh delete {DELETE}"


def wait_for(condition, seconds=20):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.02)


def ended(started):
  """What it told; nothing of it is left where it does not end."""
  try:
    return started.communicate(timeout=20)[1]
  except subprocess.TimeoutExpired:
    os.killpg(started.pid, signal.SIGKILL)
    raise


def interrupted(cloud, command, sent):
  """The last line and exit code of what was stopped while a call hung."""
  with cloud.start(*command) as started:
    wait_for((cloud.folder / "hangs").exists)
    if sent == signal.SIGINT:
      # Ctrl-C reaches all that runs in the terminal.
      os.killpg(started.pid, sent)
    else:
      os.kill(started.pid, sent)
      (cloud.folder / "go").touch()
    told = ended(started)
  return told.splitlines()[-1], started.returncode


@pytest.mark.parametrize("late", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
  "command",
  [
    ("all",),
    pytest.param(("all", "--queued"), marks=pytest.mark.slow),
    pytest.param(("resume", "--watch"), marks=pytest.mark.slow),
    pytest.param(("resume", "--watch", "--queued"), marks=pytest.mark.slow),
  ],
  ids=" ".join,
)
def test_a_signal_at_each_call(tmp_path, command, sent, late):
  calls = clean_calls(tmp_path, *command)
  for number in range(1, len(calls) + 1):
    if late and calls[number - 1].endswith(("ls", "cat", "describe")):
      # Done or not is the same for what only asks.
      continue
    folder = tmp_path / str(number)
    folder.mkdir()
    cloud = Cloud(folder)
    cloud.hangs_at(number)
    if late:
      (folder / "late").touch()
    last, code = interrupted(cloud, command, sent)
    what = f"call {number}, {calls[number - 1]}: {code}, {last}"
    assert code == 128 + sent, what
    there = (folder / "state").exists() or (folder / "request").exists()
    flags = " --queued" if "--queued" in command else ""
    if there:
      assert last.endswith(COMMAND + flags), what
    elif not calls[number - 1].endswith("create"):
      assert last.endswith("nothing is billed there."), what
    elif sent == signal.SIGINT:
      # The cloud may have heard what was cut off.
      assert last.endswith(COMMAND + flags), what
    assert not list(folder.glob("tf_pcc-*")), what


def test_what_was_asked_for_when_cut_off_may_still_come(cloud):
  creates = cloud.folder / "clean"
  creates.mkdir()
  cloud.hangs_at(4)
  last, code = interrupted(cloud, ("all",), signal.SIGINT)
  assert cloud.calls()[3] == "create" and code == 130
  assert "may still make it" in last and last.endswith(COMMAND)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_watch_while_it_asks_for_the_end(cloud, sent):
  (cloud.folder / "state").write_text("READY")
  cloud.hangs_at(1)
  last, code = interrupted(cloud, ("resume", "--watch"), sent)
  assert cloud.calls()[0] == "ls" and code == 128 + sent
  assert last.endswith(COMMAND)


def test_who_presses_ctrl_c_twice_is_told(cloud):
  """Even if the cloud is not asked any more."""
  (cloud.folder / "state").write_text("READY")
  (cloud.folder / "worker").mkdir()
  # The first fails; the second asks what there is.
  cloud.fails("ssh", 1)
  cloud.hangs_at(2)
  with cloud.start("stop") as started:
    wait_for((cloud.folder / "hangs").exists)
    os.killpg(started.pid, signal.SIGINT)
    told = ended(started)
  assert told.splitlines()[-1].endswith(COMMAND)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_pause_ends_at_once(cloud, sent):
  """Whoever waits a minute for a sleep to end sends the next one, SIGKILL."""
  (cloud.folder / "bin/sleep").unlink()
  (cloud.folder / "state").write_text("CREATING")
  with cloud.start("resume", "--watch") as started:
    wait_for(lambda: cloud.calls() == ["ls", "describe"])
    time.sleep(0.3)
    begin = time.monotonic()
    started.send_signal(sent)
    told = ended(started)
  assert time.monotonic() - begin < 20
  assert started.returncode == 128 + sent
  assert told.splitlines()[-1].endswith(COMMAND)

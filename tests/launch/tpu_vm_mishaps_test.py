"""What goes wrong around launch/tpu_vm.sh, with a stand-in for the cloud."""

import shutil
import subprocess
import time

import pytest

from tests.launch.tpu_cloud import (
  DELETE,
  FLAGS,
  TRIES,
  assert_ended,
  assert_says_how_to_delete,
)


def test_who_forgets_queued_is_told_of_the_request(cloud):
  (cloud.folder / "answers").write_text("WAITING_FOR_RESOURCES\n" * 9)
  (cloud.folder / "request").write_text("WAITING_FOR_RESOURCES")
  done = cloud.run("delete")
  assert done.returncode == 3
  assert "billed as soon as it is given a TPU" in done.stderr
  assert_says_how_to_delete(done, " --queued")
  # Its TPU is there: the request is left after it.
  (cloud.folder / "request").write_text("SUSPENDING")
  (cloud.folder / "state").write_text("READY")
  (cloud.folder / "worker").mkdir()
  done = cloud.run("delete")
  assert done.returncode == 0
  assert "holds quota until you run" in done.stderr.splitlines()[-1]
  assert done.stderr.endswith(f"{DELETE} --queued\n")


def test_delete_ends_as_it_is_asked(cloud):
  (cloud.folder / "state").write_text("READY")
  (cloud.folder / "worker").mkdir()
  cloud.fails("delete", 1)
  done = cloud.run("delete")
  assert done.returncode == 0 and cloud.calls().count("delete") == 2
  assert done.stderr.endswith("zone us-central1-a of project p is deleted.\n")
  # There is none: to ask again is no use.
  done = cloud.run("delete", "--zone=us-central1-b")
  assert done.returncode == 3 and cloud.calls().count("delete") == 3
  assert "no TPU tf-pcc in zone us-central1-b of project p" in done.stderr


def test_a_deletion_whose_answer_was_lost_is_one(cloud):
  (cloud.folder / "state").write_text("PREEMPTED")
  (cloud.folder / "worker").mkdir()
  (cloud.folder / "late").touch()
  cloud.fails("delete", 1)
  done = cloud.run("resume")
  assert done.returncode == 0, done.stderr
  assert cloud.calls().count("delete") == 1 and cloud.starts == 1


def test_what_ends_well_says_what_is_billed(cloud):
  for command in ("create", "copy", "install", "run", "status"):
    done = cloud.run(command)
    assert done.returncode == 0, done.stderr
    assert_says_how_to_delete(done)


@pytest.mark.parametrize("state", ["CREATING", "PREEMPTED"])
def test_status_asks_no_log_of_what_is_not_ready(cloud, state):
  (cloud.folder / "state").write_text(state)
  done = cloud.run("status")
  assert done.returncode == 0 and done.stdout == f"TPU: {state}\n"
  assert cloud.calls() == ["describe"]


def test_status_of_nothing(cloud):
  done = cloud.run("status", "--queued")
  assert done.returncode == 1
  assert done.stdout == "request: GONE\nTPU: GONE\n"
  assert done.stderr.splitlines()[-1].endswith("nothing is billed there.")


@pytest.mark.parametrize("place", ["no git", "elsewhere"])
def test_a_checkout_that_cannot_be_sent_is_found_first(cloud, place):
  if place == "no git":
    shutil.rmtree(cloud.checkout / ".git")
  else:
    (cloud.checkout / "launch").rename(cloud.checkout / "home")
  script = next(cloud.checkout.glob("*/tpu_vm.sh"))
  done = subprocess.run(
    ["bash", str(script), "all", *FLAGS],
    capture_output=True,
    text=True,
    check=False,
    cwd=cloud.folder,
    env=cloud.environment() | {"GIT_CEILING_DIRECTORIES": str(cloud.folder)},
  )
  assert done.returncode == 1 and "create" not in cloud.calls()
  assert "must be in launch/ of a git checkout" in done.stderr
  assert f"Received: {cloud.checkout}" in done.stderr


def test_a_config_that_is_not_sent_is_found_first(cloud):
  (cloud.checkout / ".gitignore").write_text("mine/\n")
  (cloud.checkout / "mine").mkdir()
  (cloud.checkout / "mine/config.py").touch()
  done = cloud.run("all", "--", "--config=mine/config.py:M")
  assert done.returncode == 1 and not cloud.calls()
  assert "must be a file that git does not ignore" in done.stderr
  assert "Received: --config=mine/config.py:M" in done.stderr


def test_steps_out_of_order_have_a_sentence(cloud):
  assert cloud.run("create").returncode == 0
  for command, said in (("install", "copy comes"), ("run", "copy and install")):
    done = cloud.run(command)
    assert done.returncode == 3 and f"{said} " in done.stderr
    assert "before" in done.stderr and "try 2" not in done.stderr
    assert_says_how_to_delete(done)


def test_a_run_under_which_nothing_is_installed(cloud):
  cloud.trains("until [[ -e $FAKE/over ]]; do /bin/sleep 0.1; done")
  assert cloud.run("all").returncode == 0
  done = cloud.run("install")
  assert done.returncode == 3 and "stop it before install" in done.stderr
  # Nor is it taken for a VM on which nothing was installed yet.
  (cloud.folder / "worker/tf_pcc/.venv/installed").unlink()
  assert cloud.run("resume").returncode == 0
  assert cloud.calls().count("scp") == 1 and cloud.starts == 1


def test_no_archive_is_left_however_often_it_is_sent(cloud):
  """Nor, in a dry run, is what bears the name of none removed."""
  cloud.trains("((n++)); touch $FAKE/bucket/summary.json")
  cloud.fails("install", 2 * TRIES)
  bystander = cloud.folder / "tf_pcc-XXXXXX"
  bystander.mkdir()
  assert_ended(cloud.run("resume", "--watch"))
  assert cloud.calls().count("scp") == 3
  assert cloud.run("copy", "--dry_run").returncode == 0
  assert list(cloud.folder.glob("tf_pcc-*")) == [bystander]


def test_a_tpu_that_is_preempted_while_it_is_filled(cloud):
  cloud.fails("scp", TRIES)
  with cloud.start("resume", "--watch") as started:
    while "scp" not in cloud.calls():
      time.sleep(0.01)
    (cloud.folder / "state").write_text("PREEMPTED")
    told = started.communicate(timeout=60)[1]
  assert started.returncode == 0, told
  assert [c for c in cloud.calls() if c in ("create", "delete")] == [
    *("create", "delete", "create")
  ]
  assert cloud.starts == 1


@pytest.mark.parametrize("answer", ["", "READY\nWARNING x", "HTTP 500"])
def test_an_answer_that_nobody_knows_is_not_gone(cloud, answer):
  (cloud.folder / "state").write_text(answer)
  done = cloud.run("resume")
  assert done.returncode == 1 and "is not ready" in done.stderr
  assert "create" not in cloud.calls()
  assert_says_how_to_delete(done)


def test_flags_come_to_training_as_they_were_given(cloud):
  cloud.trains('printf "%s\\n" "$@" > $FAKE/got')
  flags = ["--config.a=$(touch x)", "--config.b='\"`id`\\ ;", "--config.c=é  *"]
  flags += ["--config.d=two\nlines", "--config.e="]
  (cloud.folder / "bucket/a  $b'c").mkdir()
  done = cloud.run("all", "--workdir=gs://bucket/run/a  $b'c", "--", *flags)
  assert done.returncode == 0, done.stderr
  got = (cloud.folder / "got").read_text()
  assert got.endswith("".join(f"{flag}\n" for flag in flags))
  assert "--workdir=gs://bucket/run/a  $b'c\n" in got
  assert not list(cloud.folder.rglob("x"))

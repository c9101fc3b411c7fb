"""What launch/tpu_vm.sh does with a cloud's answers, those of a stand-in."""

import signal
import subprocess
import tarfile
import time

import pytest

from tests.launch.tpu_cloud import (
  DELETE,
  FLAGS,
  TRIES,
  Cloud,
  assert_ended,
  assert_says_how_to_delete,
  clean_calls,
)


def test_run_comes_back_while_training_goes_on(cloud):
  cloud.trains(
    "echo heard $*; until [[ -e $FAKE/over ]]; do /bin/sleep 0.1; done"
  )
  done = cloud.run("all", "--", "--config.x=a b")
  assert done.returncode == 0, done.stderr
  # Nor does a second one begin beside it.
  assert cloud.run("resume").returncode == 0
  assert cloud.calls()[-1] == "probe" and cloud.calls().count("train") == 1
  again = cloud.run("run")
  assert again.returncode == 3 and "runs already" in again.stderr
  assert_says_how_to_delete(again)
  assert cloud.starts == 1
  # Its words are in the log, not in gcloud's answer.
  log = (cloud.folder / "worker/tf_pcc/train.log").read_text()
  assert log.endswith("--workdir=gs://bucket/run --config.x=a b\n")
  assert "heard" not in done.stdout


def test_the_checkout_is_sent_as_it_is(cloud):
  (cloud.checkout / "my config.py").write_text("new")
  (cloud.checkout / ".gitignore").write_text("*.big\n")
  (cloud.checkout / "ignored.big").write_text("large")
  (cloud.checkout / "setup.py").unlink()
  (cloud.folder / "worker").mkdir()
  assert cloud.run("copy").returncode == 0
  with tarfile.open(cloud.folder / "worker/tf_pcc.tar.gz") as archive:
    names = {name.removeprefix("./") for name in archive.getnames()}
  assert names == {"launch/tpu_vm.sh", "my config.py", ".gitignore"}
  unpacked = cloud.folder / "worker/tf_pcc/my config.py"
  assert unpacked.read_text() == "new"


def test_what_is_deleted_here_is_deleted_there(cloud):
  (cloud.checkout / "it's old.py").touch()
  (cloud.folder / "worker").mkdir()
  assert cloud.run("copy").returncode == 0
  there = cloud.folder / "worker/tf_pcc"
  (there / "train.log").write_text("a step")
  (cloud.checkout / "it's old.py").rename(cloud.checkout / "new.py")
  assert cloud.run("copy").returncode == 0
  names = {str(p.relative_to(there)) for p in there.rglob("*") if p.is_file()}
  assert names == {"launch/tpu_vm.sh", "setup.py", "new.py", "train.log"}


def test_install_where_python_has_no_venv(cloud):
  (cloud.folder / "no_venv").touch()
  assert_ended(cloud.run("resume", "--watch"))
  assert cloud.calls().count("install") == 1 and cloud.starts == 1


@pytest.mark.parametrize("verb", ["scp", "install", "train"])
def test_all_tries_again_and_stops_at_what_always_fails(cloud, verb):
  cloud.fails(verb, TRIES)
  done = cloud.run("all")
  assert done.returncode == 1
  assert f"try {TRIES} of {TRIES} is in" in done.stderr
  assert cloud.calls()[-3] == verb and not cloud.starts
  assert "tf-pcc is READY, and billed" in done.stderr
  assert_says_how_to_delete(done)


def test_without_a_tpu_nothing_is_billed(cloud):
  cloud.fails("create", 1)
  done = cloud.run("all")
  assert done.returncode == 1 and cloud.calls().count("create") == 1
  assert done.stderr.splitlines()[-1].endswith(
    "there is no TPU tf-pcc in zone us-central1-a of project p: nothing is"
    " billed there."
  )


@pytest.mark.parametrize("late", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize(
  "command",
  [
    ("all",),
    pytest.param(("all", "--queued"), marks=pytest.mark.slow),
    pytest.param(("resume", "--watch"), marks=pytest.mark.slow),
    ("resume", "--watch", "--queued"),
  ],
  ids=" ".join,
)
def test_each_single_call_may_fail(tmp_path, command, late):
  """It finishes, or the last line tells what is billed and how to end it."""
  calls = clean_calls(tmp_path, *command)
  assert len(calls) >= 9
  for number in range(1, len(calls) + 1):
    folder = tmp_path / str(number)
    folder.mkdir()
    cloud = Cloud(folder)
    cloud.fails_at(number)
    if late:
      (folder / "late").touch()
    done = cloud.run(*command)
    what = f"call {number}, {calls[number - 1]}: {done.stderr}"
    there = (folder / "state").exists() or (folder / "request").exists()
    if done.returncode:
      last = done.stderr.splitlines()[-1]
      flags = " --queued" if "--queued" in command else ""
      command_to_delete = f"launch/tpu_vm.sh delete {DELETE}{flags}"
      assert there == last.endswith(command_to_delete), what
      assert there or "nothing is billed" in last, what
    else:
      # Here a run ends at once, so a second start is none beside the first.
      again = late and calls[number - 1] == "train"
      assert there and cloud.starts == 1 + again, what
    # Nor is anything left behind here, or in the bucket.
    assert not list(folder.glob("tf_pcc-*")), what
    assert not (folder / "bucket/.tpu_vm_test").exists(), what


def test_a_connection_that_breaks_after_the_start_is_no_failure(cloud):
  cloud.trains("until [[ -e $FAKE/over ]]; do /bin/sleep 0.1; done")
  for step in ("create", "copy", "install"):
    assert cloud.run(step).returncode == 0
  (cloud.folder / "late").touch()
  cloud.fails("train", 1)
  done = cloud.run("run")
  assert done.returncode == 0, done.stderr
  assert cloud.calls()[-3:] == ["train", "train", "probe"]
  assert cloud.starts == 1


def test_a_queued_tpu_is_waited_for_and_deleted_with_its_request(cloud):
  (cloud.folder / "answers").write_text("WAITING_FOR_RESOURCES\n" * 2)
  done = cloud.run("all", "--queued")
  assert done.returncode == 0, done.stderr
  assert "the request for tf-pcc is WAITING_FOR_RESOURCES" in done.stderr
  assert "create" not in cloud.calls() and cloud.starts == 1
  assert cloud.run("delete", "--queued").returncode == 0
  left = {path.name for path in cloud.folder.iterdir()}
  assert not left & {"state", "request", "worker"}
  assert cloud.calls()[-1] == "request_delete"


@pytest.mark.parametrize("state", ["FAILED", "SUSPENDED"])
def test_a_request_that_fails_is_told(cloud, state):
  (cloud.folder / "answers").write_text(f"{state}\n")
  done = cloud.run("all", "--queued")
  assert done.returncode == 1
  assert f"the request for tf-pcc is {state}" in done.stderr
  assert_says_how_to_delete(done, " --queued")
  # It holds quota, so it is deleted before another one is made.
  (cloud.folder / "answers").write_text("")
  done = cloud.run("resume", "--queued")
  assert done.returncode == 0, done.stderr
  made = [c for c in cloud.calls() if c in ("request_delete", "request_create")]
  assert made == ["request_create", "request_delete", "request_create"]


def test_an_interrupt_tells_what_is_billed(cloud):
  (cloud.folder / "answers").write_text("WAITING_FOR_RESOURCES\n" * 1000)
  with subprocess.Popen(
    ["bash", str(cloud.checkout / "launch/tpu_vm.sh"), "all", *FLAGS]
    + ["--queued"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    cwd=cloud.folder,
    env=cloud.environment(),
  ) as started:
    while cloud.calls().count("request_describe") < 3:
      time.sleep(0.02)
    started.send_signal(signal.SIGTERM)
    told = started.communicate(timeout=60)[1]
  assert started.returncode == 143
  last = told.splitlines()[-1]
  assert "is WAITING_FOR_RESOURCES, and billed as soon as it is given" in last
  assert last.endswith(f"delete {DELETE} --queued")


def test_a_workdir_without_access_is_found_first(cloud):
  (cloud.folder / "no_access").touch()
  done = cloud.run("all")
  assert done.returncode == 1 and "create" not in cloud.calls()
  assert "must be a place where you may write" in done.stderr
  assert "Received: workdir=gs://bucket/run" in done.stderr
  # What is refused is not tried again.
  assert "try 2" not in done.stderr
  assert "nothing is billed" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
  ("place", "warned"),
  [("US-CENTRAL1", False), ("US", True), ("EUROPE-WEST4", True), ("EU", True)],
)
def test_a_bucket_far_away_is_warned_of(cloud, place, warned):
  (cloud.folder / "location").write_text(place)
  done = cloud.run("create")
  assert done.returncode == 0
  assert (
    "what is read over that distance may be billed" in done.stderr
  ) == warned


@pytest.mark.parametrize(
  ("complaint", "said"),
  [
    ("Quota limit 'TPUV5sLitepodPerProject' exceeded", "too little quota for"),
    ("There is no more capacity in the zone", "try --queued, which waits"),
    ("Resource already exists", "there is a tf-pcc already"),
    ("Runtime version tpu-x not found", "--version must name an image"),
    ("Accelerator type v5litepod-8 not found", "--type must be one that"),
    ("PERMISSION_DENIED: TPU API has not been used in p", "services enable"),
    ("Permission denied on 'locations/x'", "there must be such a zone"),
  ],
)
def test_usual_complaints_have_a_sentence(cloud, complaint, said):
  (cloud.folder / "complaint").write_text(f"ERROR: {complaint}\n")
  done = cloud.run("create")
  assert done.returncode == 1 and complaint in done.stderr
  assert said in done.stderr
  assert "nothing is billed" in done.stderr.splitlines()[-1]


def test_a_tpu_of_another_process_is_not_taken(cloud):
  (cloud.folder / "held").write_text(" 4711")
  done = cloud.run("all")
  assert done.returncode == 3 and not cloud.starts
  assert "the TPU is held by process 4711 of this VM" in done.stderr
  assert cloud.calls().count("train") == 1
  assert_says_how_to_delete(done)


def test_stop_without_a_run(cloud):
  for step in ("create", "copy"):
    assert cloud.run(step).returncode == 0
  done = cloud.run("stop")
  assert done.returncode == 3 and "there is no run to stop" in done.stderr
  assert (cloud.folder / "pkill").read_text() == "-TERM -f [l]aunch.train\n"
  assert_says_how_to_delete(done)

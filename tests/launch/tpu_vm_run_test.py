"""What launch/tpu_vm.sh does with a cloud's answers, a stand-in for gcloud.

The stand-in keeps the TPU's state, the workers' disk and the bucket in folders
and runs for real, in bash, what it is to run on a worker; only Python is a
script there. No command was ever run against the real gcloud.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import time

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "launch" / "tpu_vm.sh"
FLAGS = (
  *("--project=p", "--zone=us-central1-a", "--type=v5litepod-8"),
  "--workdir=gs://bucket/run",
)

# A file fail/VERB holds how many of the next calls are to fail, fail/call the
# number of the only call that is to. With a file "late" it fails after it was
# done, as where the connection breaks.
GCLOUD = r"""#!/bin/bash
[[ " $* " == *" --quiet "* ]] || { echo "it asks: (Y/n)?" >&2; exit 2; }
verb=$4
case "$1 $3" in
  storage*) verb=$2; [[ $2 != buckets ]] || verb=location ;;
  *queued-resources) verb=request_$4 ;;
esac
if [[ $verb == ssh ]]; then
  command=${!#} command=${command#--command=}
  case $command in
    *nohup*) verb=train ;;
    *"echo idle"*) verb=probe ;;
    *pip*) verb=install ;;
    *) verb=ssh ;;
  esac
fi
echo "$verb" >> calls
fail() { echo "ERROR: ($verb) UNAVAILABLE: no such luck" >&2; exit 1; }
fails=""
left=$(cat "fail/$verb" 2> /dev/null || echo 0)
if ((left > 0)); then
  echo $((left - 1)) > "fail/$verb"
  fails=yes
fi
[[ $(wc -l < calls) != "$(cat fail/call 2> /dev/null)" ]] || fails=yes
[[ -z $fails || -e late ]] || fail
missing() {
  echo "ERROR: NOT_FOUND: Resource '$1' was not found" >&2; exit 1
}
case $verb in
  describe) cat state 2> /dev/null || missing n ;;
  create)
    [[ ! -e complaint ]] || { cat complaint >&2; exit 1; }
    [[ ! -e state ]] && mkdir worker && echo READY > state
    ;;
  delete) rm -r state worker ;;
  request_create) [[ ! -e request ]] && echo WAITING_FOR_RESOURCES > request ;;
  request_describe)
    [[ -e request ]] || missing r
    cat request
    # It is the next one's turn; a file "answers" holds what each is told.
    if [[ -s answers ]]; then
      head -n 1 answers > request && sed -i 1d answers
    elif [[ $(cat request) == WAIT* ]]; then
      echo ACTIVE > request
    fi
    [[ $(cat request) != ACTIVE || -e state ]] ||
      { mkdir worker && echo READY > state; }
    ;;
  request_delete) [[ -e request ]] && rm -rf request state worker ;;
  scp) cp "$5" worker/tf_pcc.tar.gz ;;
  ls) [[ -e bucket/${3#gs://bucket/run/} ]] ;;
  cat) cat bucket/checkpoint ;;
  cp) [[ ! -e no_access ]] && cp "$3" "bucket/${4#gs://bucket/run/}" ;;
  rm) rm "bucket/${3#gs://bucket/run/}" ;;
  location) cat location 2> /dev/null || echo US-CENTRAL1 ;;
  *)
    before=$(wc -l < starts)
    (cd worker && PATH=$FAKE/bin:$PATH exec bash -c "$command") || exit
    # A poll is much sooner than a minute: training is to have begun by then.
    until [[ $verb != train || $(wc -l < starts) != "$before" ]]; do
      /bin/sleep 0.02
    done
    ;;
esac || exit
[[ -z $fails ]] || fail
"""

# `python3 -m venv .venv` on the worker, with a pip that has nothing to do.
PYTHON = r"""#!/bin/bash
[[ ! -e $FAKE/no_venv ]] || exit 1
mkdir -p .venv/bin && cp "$FAKE/bin/train" .venv/bin/python &&
  ln -sf /bin/true .venv/bin/pip
"""

DELETE = "--name=tf-pcc --project=p --zone=us-central1-a"


# As in the script.
TRIES = 5


class Cloud:
  """A project with at most one TPU, and a checkout to send there."""

  def __init__(self, folder):
    self.folder = folder
    for name in ("bin", "fail", "bucket", "checkout/launch"):
      (folder / name).mkdir(parents=True)
    self.checkout = folder / "checkout"
    shutil.copy(SCRIPT, self.checkout / "launch")
    (self.checkout / "setup.py").write_text("committed")
    self._git("init", "-q")
    self._git("add", ".")
    self._git(
      *("-c", "user.name=n", "-c", "user.email=e"), "commit", "-qm", "first"
    )
    self._program("gcloud", GCLOUD)
    self._program("python3", PYTHON)
    self._program(
      "sudo",
      "#!/bin/bash\n[[ $* != *venv ]] || rm $FAKE/no_venv\n"
      '[[ $* != *fuser* ]] || cat "$FAKE/held" 2> /dev/null\n',
    )
    # The real one would end other people's training on this machine.
    self._program("pkill", "#!/bin/bash\necho $* > $FAKE/pkill\nexit 1\n")
    self._program("sleep", "#!/bin/bash\nexec /bin/sleep 0.02\n")
    (folder / "starts").touch()
    self.trains("touch $FAKE/bucket/summary.json")

  def _git(self, *arguments):
    subprocess.run(["git", "-C", self.checkout, *arguments], check=True)

  def _program(self, name, content):
    path = self.folder / "bin" / name
    path.write_text(content)
    path.chmod(0o755)

  def trains(self, commands):
    """What launch.train does, in place of training."""
    self._program(
      "train", f"#!/bin/bash\necho start >> $FAKE/starts\n{commands}\n"
    )

  def fails(self, verb, times):
    (self.folder / "fail" / verb).write_text(str(times))

  def fails_at(self, call):
    (self.folder / "fail/call").write_text(str(call))

  def run(self, command, *flags):
    return subprocess.run(
      [
        "bash",
        str(self.checkout / "launch/tpu_vm.sh"),
        command,
        *FLAGS,
        *flags,
      ],
      capture_output=True,
      text=True,
      check=False,
      timeout=60,
      cwd=self.folder,
      env=self.environment(),
    )

  def environment(self):
    return {
      "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
      "FAKE": str(self.folder),
      "TMPDIR": str(self.folder),
    }

  def calls(self):
    path = self.folder / "calls"
    return path.read_text().split() if path.exists() else []

  @property
  def starts(self):
    return len((self.folder / "starts").read_text().split())


@pytest.fixture
def cloud(tmp_path):
  yield Cloud(tmp_path)
  # Ends what still trains.
  (tmp_path / "over").touch()


def assert_ended(done):
  assert done.returncode == 0, done.stderr
  assert "summary.json is there" in done.stderr
  # The TPU costs money until it is deleted.
  assert_says_how_to_delete(done)


def assert_says_how_to_delete(done, flags=""):
  last = done.stderr.splitlines()[-1]
  assert "billed" in last
  command = f"launch/tpu_vm.sh delete {DELETE}{flags}"
  assert last.endswith(command), done.stderr


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


def test_watch_asks_again_where_there_is_no_capacity(cloud):
  cloud.fails("create", 2)
  assert_ended(cloud.run("resume", "--watch"))
  assert cloud.calls().count("create") == 3 and cloud.starts == 1


@pytest.mark.parametrize("verb", ["scp", "install", "ssh"])
def test_watch_copies_and_installs_before_it_trains(cloud, verb):
  cloud.fails(verb, TRIES)
  assert_ended(cloud.run("resume", "--watch"))
  calls = cloud.calls()
  assert calls.count("scp") == 1 + (TRIES if verb == "scp" else 1)
  assert calls.count("create") == calls.count("train") == cloud.starts == 1


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
  assert cloud.calls()[-2:] == [verb, "describe"] and not cloud.starts
  assert "tf-pcc is READY, and billed" in done.stderr
  assert_says_how_to_delete(done)


def test_without_a_tpu_nothing_is_billed(cloud):
  cloud.fails("create", 1)
  done = cloud.run("all")
  assert done.returncode == 1 and cloud.calls().count("create") == 1
  assert done.stderr.splitlines()[-1].endswith(
    "there is no TPU tf-pcc: nothing is billed."
  )


def test_watch_gives_up_where_training_always_fails(cloud):
  cloud.trains("exit 1")
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1
  assert "3 starts in a row left no new checkpoint" in done.stderr
  assert_says_how_to_delete(done)
  # One on the new TPU, three on the TPU that was there.
  assert cloud.starts == 4


def test_watch_gives_up_where_installing_always_fails(cloud):
  cloud.fails("install", 999)
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1 and "3 starts in a row" in done.stderr
  assert cloud.calls().count("install") == 4 * TRIES and not cloud.starts


def test_watch_goes_on_where_each_start_leaves_a_checkpoint(cloud):
  cloud.trains(
    "n=$(wc -l < $FAKE/starts); echo $n > $FAKE/bucket/checkpoint;"
    "((n < 7)) || touch $FAKE/bucket/summary.json"
  )
  assert_ended(cloud.run("resume", "--watch"))
  assert cloud.starts == 7


def test_no_answer_is_not_a_worker_at_rest(cloud):
  """A second launch.train would write to the directory of the first."""
  cloud.trains(
    "until [[ $(cat $FAKE/fail/probe) == 0 || -e $FAKE/over ]]; do"
    " /bin/sleep 0.1; done; touch $FAKE/bucket/summary.json"
  )
  cloud.fails("probe", 4)
  assert cloud.run("all").returncode == 0
  done = cloud.run("resume")
  assert done.returncode == 1 and "did not answer" in done.stderr
  assert cloud.run("resume", "--watch").returncode == 0
  assert cloud.calls().count("probe") >= 4
  assert cloud.calls().count("train") == cloud.starts == 1


def test_watch_gives_up_on_a_worker_that_never_answers(cloud):
  (cloud.folder / "state").write_text("READY")
  cloud.fails("probe", 999)
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1
  assert "did not answer, 60 times in a row" in done.stderr


def test_no_tpu_is_made_for_a_run_that_has_ended(cloud):
  (cloud.folder / "bucket/summary.json").touch()
  for flags in ((), ("--watch",)):
    assert_ended(cloud.run("resume", *flags))
  assert set(cloud.calls()) == {"ls", "probe"}


def test_a_run_with_more_steps_has_not_ended(cloud):
  """Its old summary is there until the first of them."""
  summary = "$FAKE/bucket/summary.json"
  cloud.trains(
    f"/bin/sleep 0.3; rm {summary}; /bin/sleep 0.3; touch {summary} $FAKE/ended"
  )
  for step in ("create", "copy", "install"):
    assert cloud.run(step).returncode == 0
  (cloud.folder / "bucket/summary.json").touch()
  assert cloud.run("run").returncode == 0
  assert_ended(cloud.run("resume", "--watch"))
  assert (cloud.folder / "ended").exists() and cloud.starts == 1


def test_not_to_be_told_is_not_gone(cloud):
  (cloud.folder / "state").write_text("READY")
  (cloud.folder / "worker").mkdir()
  cloud.fails("describe", 4)
  done = cloud.run("resume")
  assert done.returncode == 1 and "UNAVAILABLE: no such luck" in done.stderr
  assert "create" not in cloud.calls()
  cloud.fails("describe", 4)
  assert_ended(cloud.run("resume", "--watch"))
  assert "create" not in cloud.calls()


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED", "STOPPED"])
def test_what_was_preempted_is_made_again(cloud, state):
  (cloud.folder / "state").write_text(state)
  (cloud.folder / "worker").mkdir()
  assert cloud.run("resume").returncode == 0
  found = [c for c in cloud.calls() if c in ("delete", "create", "train")]
  assert found == ["delete", "create", "train"]


def test_a_tpu_in_the_making_is_left_alone(cloud):
  (cloud.folder / "state").write_text("CREATING")
  done = cloud.run("resume")
  assert done.returncode == 1 and "is not ready: CREATING" in done.stderr
  assert cloud.calls() == ["ls", "describe", "describe"]


def test_watch_gives_up_on_a_tpu_that_is_never_ready(cloud):
  (cloud.folder / "state").write_text("CREATING")
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1
  assert "is not ready: CREATING, 60 times in a row" in done.stderr
  assert_says_how_to_delete(done)


def clean_calls(tmp_path, command, *flags):
  """The calls of a run in which none fails."""
  (tmp_path / "clean").mkdir()
  cloud = Cloud(tmp_path / "clean")
  done = cloud.run(command, *flags)
  assert done.returncode == 0, done.stderr
  return cloud.calls()


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
  assert "nothing is billed" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
  ("place", "warned"),
  [("US-CENTRAL1", False), ("US", False), ("EUROPE-WEST4", True), ("EU", True)],
)
def test_a_bucket_far_away_is_warned_of(cloud, place, warned):
  (cloud.folder / "location").write_text(place)
  done = cloud.run("create")
  assert done.returncode == 0
  assert ("what is read over that distance is billed" in done.stderr) == warned


@pytest.mark.parametrize(
  ("complaint", "said"),
  [
    ("Quota limit 'TPUV5sLitepodPerProject' exceeded", "too little quota for"),
    ("There is no more capacity in the zone", "try --queued, which waits"),
    ("Resource already exists", "there is a tf-pcc already"),
    ("Runtime version tpu-x not found", "--version must name an image"),
    ("Accelerator type v5litepod-8 not found", "--type must be one that"),
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

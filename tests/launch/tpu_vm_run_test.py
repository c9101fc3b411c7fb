"""What launch/tpu_vm.sh does with a cloud's answers, a stand-in for gcloud.

The stand-in keeps the TPU's state, the workers' disk and the bucket in folders
and runs for real, in bash, what it is to run on a worker; only Python is a
script there. No command was ever run against the real gcloud.
"""

import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "launch" / "tpu_vm.sh"
FLAGS = (
  *("--project=p", "--zone=z", "--type=v5litepod-8"),
  "--workdir=gs://bucket/run",
)

# A file fail/VERB holds the number of next calls that are to fail.
GCLOUD = r"""#!/bin/bash
verb=$4; [[ $1 == storage ]] && verb=$2
if [[ $verb == ssh ]]; then
  command=${!#} command=${command#--command=}
  case $command in
    *launch.train*) verb=train ;;
    *"echo idle"*) verb=probe ;;
    *pip*) verb=install ;;
    *) verb=ssh ;;
  esac
fi
echo "$verb" >> calls
left=$(cat "fail/$verb" 2> /dev/null || echo 0)
if ((left > 0)); then
  echo $((left - 1)) > "fail/$verb"
  echo "ERROR: ($verb) UNAVAILABLE: no such luck" >&2
  exit 1
fi
case $verb in
  describe) cat state 2> /dev/null ||
    { echo "ERROR: NOT_FOUND: Resource 'n' was not found" >&2; exit 1; } ;;
  create) [[ ! -e state ]] && mkdir worker && echo READY > state ;;
  delete) rm -r state worker ;;
  scp) cp "$5" worker/tf_pcc.tar.gz ;;
  ls) [[ -e bucket/${3#gs://bucket/run/} ]] ;;
  cat) cat bucket/checkpoint ;;
  *)
    before=$(wc -l < starts)
    (cd worker && PATH=$FAKE/bin:$PATH exec bash -c "$command") || exit
    # A poll is much sooner than a minute: training is to have begun by then.
    until [[ $verb != train || $(wc -l < starts) != "$before" ]]; do
      /bin/sleep 0.02
    done
    ;;
esac
"""

# `python3 -m venv .venv` on the worker, with a pip that has nothing to do.
PYTHON = r"""#!/bin/bash
[[ ! -e $FAKE/no_venv ]] || exit 1
mkdir -p .venv/bin && cp "$FAKE/bin/train" .venv/bin/python &&
  ln -sf /bin/true .venv/bin/pip
"""


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
      "sudo", "#!/bin/bash\n[[ $* != *venv ]] || rm $FAKE/no_venv\n"
    )
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
      env={
        "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
        "FAKE": str(self.folder),
        "TMPDIR": str(self.folder),
      },
    )

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
  assert "delete --name=tf-pcc --project=p --zone=z" in done.stderr


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
  assert again.returncode == 1 and "runs already" in again.stderr
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
  cloud.fails(verb, 1)
  assert_ended(cloud.run("resume", "--watch"))
  calls = cloud.calls()
  assert calls.count("scp") == 2 and calls.count("create") == 1
  assert calls.count("train") == cloud.starts == 1


def test_install_where_python_has_no_venv(cloud):
  (cloud.folder / "no_venv").touch()
  assert_ended(cloud.run("resume", "--watch"))
  assert cloud.calls().count("install") == 1 and cloud.starts == 1


@pytest.mark.parametrize("verb", ["create", "scp", "install", "train"])
def test_all_stops_at_the_first_failure(cloud, verb):
  cloud.fails(verb, 1)
  assert cloud.run("all").returncode == 1
  assert cloud.calls()[-1] == verb and not cloud.starts


def test_watch_gives_up_where_training_always_fails(cloud):
  cloud.trains("exit 1")
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1
  assert "3 starts in a row left no new checkpoint" in done.stderr
  assert "delete --name=tf-pcc" in done.stderr
  # One on the new TPU, three on the TPU that was there.
  assert cloud.starts == 4


def test_watch_gives_up_where_installing_always_fails(cloud):
  cloud.fails("install", 99)
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1 and "3 starts in a row" in done.stderr
  assert cloud.calls().count("install") == 4 and not cloud.starts


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
  cloud.fails("describe", 2)
  done = cloud.run("resume")
  assert done.returncode == 1 and "UNAVAILABLE: no such luck" in done.stderr
  assert "create" not in cloud.calls()
  cloud.fails("describe", 4)
  assert_ended(cloud.run("resume", "--watch"))
  assert "create" not in cloud.calls()


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED", "STOPPED"])
def test_what_was_taken_away_is_made_anew(cloud, state):
  (cloud.folder / "state").write_text(state)
  (cloud.folder / "worker").mkdir()
  assert cloud.run("resume").returncode == 0
  found = [c for c in cloud.calls() if c in ("delete", "create", "train")]
  assert found == ["delete", "create", "train"]


def test_a_tpu_in_the_making_is_left_alone(cloud):
  (cloud.folder / "state").write_text("CREATING")
  done = cloud.run("resume")
  assert done.returncode == 1 and "is not ready: CREATING" in done.stderr
  assert cloud.calls() == ["ls", "describe"]


def test_watch_gives_up_on_a_tpu_that_is_never_ready(cloud):
  (cloud.folder / "state").write_text("CREATING")
  done = cloud.run("resume", "--watch")
  assert done.returncode == 1
  assert "is not ready: CREATING, 60 times in a row" in done.stderr
  assert "delete --name=tf-pcc" in done.stderr

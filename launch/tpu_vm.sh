#!/usr/bin/env bash
# Creates, fills, runs and deletes a Cloud TPU VM or slice for launch.train.
#
#   launch/tpu_vm.sh all --project=P --zone=Z --type=v5litepod-8 \
#     --workdir=gs://BUCKET/runs/one -- \
#     --config=launch/configs/librispeech_conformer_ctc.py \
#     --config.data.train=gs://BUCKET/records/train
#
# create   makes the TPU VM (--spot: cheaper, may be preempted; --queued: asks
#          for it in the queue, waits until it is given out, and makes every
#          other command take the request with it)
# copy     sends this checkout to every worker, with what is not committed and
#          without what git ignores; files that are gone here go there too
# install  makes the virtual environment on every worker
# run      starts launch.train with what is behind -- and comes back at once; it
#          goes on from the newest checkpoint in --workdir
# status   prints the TPU's state and the end of the log
# resume   brings a preempted run back: makes the TPU again if it is
#          gone, and runs; with --watch again and again until the run is done or
#          three starts in a row left no new checkpoint; end it before stop and
#          delete, which it would take for the cloud's
# stop     asks launch.train to save a checkpoint and end
# delete   deletes the TPU VM, with --queued its request too
# all      create, copy, install, run
#
# --tensorflow=2.20.0 installs that instead of 2.19.1; --version=IMAGE chooses the
# VM's image, which several hosts need. --dry_run prints every command and
# executes none. The last line says what is billed and how to delete it. Nothing
# here was ever run against a real TPU: see launch/tpu.md. It is one file, long as
# it is, for it needs nothing but bash, git, tar and gcloud.
set -euo pipefail

name=tf-pcc project="" zone="" type="" version="" workdir="" spot="" watch=""
queued="" dry_run="" tensorflow=2.19.1 training=()
poll_seconds=60
most_starts=3
most_silent_polls=60
# ssh is refused for some time after a TPU VM is ready.
most_tries=5
retry_seconds=10
# What a worker's command exits with when asking again is no use.
final=3

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }

say() { printf 'tpu_vm.sh: %s\n' "$*" >&2; }

die() {
  say "$@"
  exit 1
}

run() {
  if [[ -n $dry_run ]]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

[[ $# -gt 0 ]] || { usage; exit 1; }
command=$1
shift
while [[ $# -gt 0 ]]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    # As launch.train, which puts one slash between a directory and a name.
    --workdir=*) workdir=${1#*=} workdir=${workdir%"${workdir##*[!/]}"} ;;
    --tensorflow=*) tensorflow=${1#*=} ;;
    --spot) spot=yes ;;
    --queued) queued=yes ;;
    --watch) watch=yes ;;
    --dry_run) dry_run=yes ;;
    --help | -h) command=help ;;
    --)
      shift
      training=("$@")
      break
      ;;
    --name | --project | --zone | --type | --version | --workdir | --tensorflow)
      die "a flag and its value are one word, $1=VALUE. Received: $1"
      ;;
    *) die "no such flag; see the head of the file. Received: $1" ;;
  esac
  shift
done

case $command in
  create | copy | install | run | status | resume | stop | delete | all) ;;
  help | --help | -h) usage; exit 0 ;;
  *) die "the commands are create, copy, install, run, status, resume, stop," \
    "delete and all. Received: $command" ;;
esac
[[ $name =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] || die "--name must be" \
  "lower-case letters, digits and hyphens, a letter first. Received: name=$name"
[[ $project =~ ^[A-Za-z0-9][-A-Za-z0-9.:]*$ ]] || die "--project must name a" \
  "Google Cloud project. Received: project=$project"
if [[ ! $zone =~ ^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$ || $zone =~ ^[a-z]+-[a-z]+[0-9]+$ ]]; then
  die "--zone must name a zone that has such TPUs, a region and a letter, for" \
    "example us-central1-a. Received: zone=$zone"
fi
needs() { [[ " $2 " == *" $command "* ]] || return 1; [[ -z $1 ]]; }
if needs "$type" "create resume all run"; then
  die "--type must be an accelerator type, as launch.plan prints it, for" \
    "example v5litepod-8. Received: type="
fi
if needs "$workdir" "run resume all"; then
  die "--workdir must be a directory that outlives the TPU, gs://BUCKET/DIR." \
    "Received: workdir="
fi
if [[ -n $workdir && ! $workdir =~ ^gs://[^/] ]]; then
  die "--workdir must be in a bucket, gs://BUCKET/DIR: the disk of a TPU VM" \
    "is lost with it. Received: workdir=$workdir"
fi
[[ $workdir != *[][*?#]* ]] || die "--workdir must be without *, ?, # and" \
  "brackets, which gcloud takes for patterns. Received: workdir=$workdir"

root=$(cd "$(dirname "$0")/.." && pwd)
for flag in ${training[@]+"${training[@]}"}; do
  case $flag in
    --workdir | --workdir=* | -workdir | -workdir=*)
      die "--workdir must come before --. Received behind it: $flag" ;;
    --tpu | --tpu=* | -tpu | -tpu=* | --output_log | --output_log=* | -output_log | -output_log=*)
      die "--tpu and --output_log must be left to this script. Received: $flag" ;;
    --config=*)
      # A config may have an argument, as in FILE:M.
      config=${flag#*=} config=${config%%:*}
      [[ $config != /* && -f $root/$config ]] || die "--config must be a file" \
        "of this checkout, from its root: that is copied. Received: $flag"
      ! git -C "$root" check-ignore -q -- "$config" 2> /dev/null ||
        die "--config must be a file that git does not ignore: what it ignores" \
          "is not copied. Received: $flag"
      ;;
    --config.data.train=gs://* | --config.data.validation=gs://* | --config.data.test=gs://*) ;;
    --config.data.train=?* | --config.data.validation=?* | --config.data.test=?*)
      say "warning: this is read from the TPU VM's own disk: $flag" ;;
  esac
done

case $tensorflow in
  # The newest pairs whose TPU library PyPI has. TensorFlow 2.20.0 asks for any
  # libtpu 0.0.*, of which the later ones lack what it calls.
  2.19.1) text=2.19.0 libtpu=0.0.10 ;;
  2.20.0) text=2.20.0 libtpu=0.0.14 ;;
  *) die "--tensorflow must be 2.19.1 or 2.20.0, whose TPU library PyPI has." \
    "Received: tensorflow=$tensorflow" ;;
esac

# The sizes that exist, and the hosts of each.
flat="1 4 8 16 32 64 128 256"
deep="8 16 32 64, and multiples of 128 up to"
size=${type#*-} hosts=1
no_such_type() {
  die "--type must be one that exists, ${type%-*}-N with N of $1." \
    "Received: type=$type"
}
is_deep() { # is_deep SIZE MOST
  [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] && ((size <= $2)) &&
    [[ " 8 16 32 64 " == *" $1 "* || $((size % 128)) == 0 ]]
}
case $type in
  "") ;;
  v5litepod-* | v6e-*)
    [[ -n $size && " $flat " == *" $size "* ]] || no_such_type "$flat"
    # A VM of eight chips is the largest; larger slices are VMs of four.
    ((size <= 8)) || hosts=$((size / 4))
    ;;
  # These are called by their cores: two a chip, four chips a host.
  v4-*) is_deep "$size" 4096 || no_such_type "$deep 4096"; hosts=$((size / 8)) ;;
  v5p-*)
    is_deep "$size" 12288 || no_such_type "$deep 12288"
    hosts=$((size / 8))
    ;;
  *) die "--type must be v4-N, v5litepod-N, v5p-N or v6e-N. Received:" \
    "type=$type" ;;
esac
if [[ $hosts -gt 1 && -z $version ]]; then
  # TensorFlow reaches the other hosts through servers that only the images for
  # pods start; their TensorFlow must be the one that is installed.
  die "--version must name an image for several hosts, whose TensorFlow is" \
    "--tensorflow=$tensorflow: none is known for sure." \
    "tpu-vm-tf-2.19.1-pod-pjrt was found nowhere; tpu-vm-tf-2.19.0-pod-pjrt is" \
    "known, and hangs for some (tensorflow issue 93618); or take one host, up" \
    "to v5litepod-8 or v6e-8. Received: type=$type, $hosts hosts, version="
fi
if [[ -z $version ]]; then
  case $type in
    v5litepod-*) version=v2-alpha-tpuv5-lite ;;
    v5p-*) version=v2-alpha-tpuv5 ;;
    v6e-*) version=v2-alpha-tpuv6e ;;
    *) version="tpu-ubuntu2204-base" ;;
  esac
fi

if [[ -z $dry_run ]] && ! command -v gcloud > /dev/null; then
  die "gcloud must be installed: https://cloud.google.com/sdk/docs/install"
fi
where=(--project="$project" --zone="$zone")
tpu=(gcloud compute tpus tpu-vm)
requests=(gcloud compute tpus queued-resources)
temporary="" tried=0 creating="" sleeper=""

delete_it() {
  printf '%s' "launch/tpu_vm.sh delete --name=$name ${where[*]}${queued:+ --queued}"
}

billed() {
  printf '%s' "A TPU that is still there is billed until you run: $(delete_it)"
}

# Each function below says itself where it ends: `set -e` is off in whatever is
# called as a condition.

tell_what_is_billed() { # The last line of whatever ends.
  local code=$? found request
  trap - EXIT
  # Whoever does not wait for the answers is told without them.
  trap 'say "$(billed)"; exit "$code"' INT TERM HUP
  set +e
  [[ -z $sleeper ]] || kill "$sleeper" 2> /dev/null
  [[ -z $temporary ]] || rm -rf "$temporary"
  if [[ -n $dry_run ]]; then
    :
  elif [[ $code != 0 ]]; then
    found=$(state_or_gone)
    # Also of who forgot --queued.
    request=$(request_or_gone)
    [[ $request == GONE || ! $request =~ ^[A-Z_]+$ ]] || queued=yes
    if [[ $found == GONE && $request == GONE && -n $creating ]]; then
      say "no TPU $name is seen in $zone, but the cloud was asked for one and" \
        "may still make it. $(billed)"
    elif [[ $found == GONE && $request == GONE ]]; then
      say "there is no TPU $name in zone $zone of project $project: nothing is" \
        "billed there."
    elif [[ $found == GONE && $request =~ ^(FAILED|SUSPEND) ]]; then
      say "the request for $name is $request: it is not billed, and holds quota" \
        "until you run: $(delete_it)"
    elif [[ $found == GONE && $request =~ ^[A-Z_]+$ ]]; then
      say "the request for $name is $request, and billed as soon as it is given" \
        "a TPU, until you run: $(delete_it)"
    elif [[ $found =~ ^[A-Z_]+$ && $found != GONE ]]; then
      say "$name is $found, and billed until you run: $(delete_it)"
    else
      # It could not be asked.
      say "$(billed)"
    fi
  elif [[ $command != delete ]]; then
    say "$(billed)"
  fi
  exit "$code"
}
trap tell_what_is_billed EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

pause() { # A signal ends it at once, where it would have to wait for sleep.
  sleep "$1" > /dev/null 2>&1 &
  sleeper=$!
  wait "$sleeper" || true
  sleeper=""
}

again() { # Tries a command that may be repeated, with a limit.
  local code
  for ((tried = 1; ; tried++)); do
    "$@" && return
    code=$?
    ((code != final && tried < most_tries)) || return "$code"
    say "that failed with exit code $code; try $((tried + 1)) of $most_tries is" \
      "in $retry_seconds seconds"
    pause "$retry_seconds"
  done
}

# A connection to a VM that was taken away is silent for ever without these.
alive=(-oConnectTimeout=30 -oServerAliveInterval=30 -oServerAliveCountMax=4)

ask_workers() { # ask_workers all|0 COMMAND
  run "${tpu[@]}" ssh "$name" "${where[@]}" --quiet --worker="$1" \
    "${alive[@]/#/--ssh-flag=}" --command="$2"
}

on_workers() { again ask_workers "$@"; }

storage() { run gcloud storage "$@" --quiet; }

storage_once() { # What is refused is not worth another try.
  local code=0 complaint
  { complaint=$(storage "$@" 2>&1 >&3) || code=$?; } 3>&1
  [[ -z $complaint ]] || printf '%s\n' "$complaint" >&2
  case $code-$complaint in
    0-*) ;;
    *[Pp]ermission* | *PERMISSION_DENIED* | *"does not have"* | *"not found"*)
      code=$final ;;
  esac
  return "$code"
}

check_checkout() { # Before anything is billed.
  [[ -n $dry_run ]] || { [[ -e $root/launch/tpu_vm.sh ]] &&
    git -C "$root" ls-files > /dev/null; } || {
    say "tpu_vm.sh must be in launch/ of a git checkout of this project, whose" \
      "files git lists: git clone, or git init there. Received: $root"
    return 1
  }
}

check_workdir() { # Before anything is billed.
  local bucket=${workdir#gs://} test=$workdir/.tpu_vm_test place
  [[ -n $workdir ]] || return 0
  bucket=gs://${bucket%%/*}
  if ! again storage_once cp "$0" "$test" || ! again storage_once rm "$test"; then
    say "--workdir must be a place where you may write, and so must the TPU's" \
      "service account. Received: workdir=$workdir"
    return 1
  fi
  place=$(storage buckets describe "$bucket" --format="value(location)" \
    2> /dev/null) || return 0
  if [[ -n $dry_run ]]; then
    printf '%s\n' "$place"
    return
  fi
  place=$(tr '[:upper:]' '[:lower:]' <<< "$place")
  # A bucket of a continent (US, EU) is another place too, with a price.
  [[ ${zone%-*} == "$place" ]] || say "warning:" \
    "$bucket is in $place and the TPU in ${zone%-*}: what is read over that" \
    "distance may be billed"
}

create() {
  local output code=0
  check_workdir || return
  if [[ -n $queued ]]; then
    set -- "${requests[@]}" create "$name" --node-id="$name" "${where[@]}" \
      --accelerator-type="$type" --runtime-version="$version"
  else
    set -- "${tpu[@]}" create "$name" "${where[@]}" \
      --accelerator-type="$type" --version="$version"
  fi
  if [[ -n $dry_run ]]; then
    run "$@" ${spot:+--spot} --quiet
  else
    say "asks for a $type in $zone"
    creating=yes
    output=$("$@" ${spot:+--spot} --quiet 2>&1) || code=$?
    # Killed, it has not told whether the cloud heard it.
    ((code > 128)) || creating=""
    [[ -z $output ]] || printf '%s\n' "$output" >&2
    if ((code)); then
      why_not "$output"
      return "$code"
    fi
  fi
  [[ -z $queued ]] || wait_for_it
}

why_not() { # One sentence on gcloud's complaint, where it is a usual one.
  case $1 in
    *[Qq]uota* | *QUOTA*) say "the project has too little quota for $type in" \
      "$zone; that of --spot is another. Ask for more under IAM, Quotas, or" \
      "take another zone." ;;
    *[Cc]apacity* | *RESOURCE_EXHAUSTED* | *STOCKOUT*) say "$zone has no $type" \
      "to give out now: try --queued, which waits, or another zone." ;;
    *ALREADY_EXISTS* | *"already exists"*) say "there is a $name already: use" \
      "resume, or another --name." ;;
    *"untime version"* | *"ersion "*"not found"*) say "--version must name an" \
      "image that $zone has. Received: version=$version" ;;
    *SERVICE_DISABLED* | *"has not been used"*) say "the TPU API must be on: gcloud" \
      "services enable tpu.googleapis.com --project=$project" ;;
    *PERMISSION_DENIED* | *"ermission denied"*) say "you must be allowed to make" \
      "TPUs, and there must be such a zone. Received: project=$project," \
      "zone=$zone" ;;
    *"ccelerator type"* | *acceleratorType*) say "--type must be one that" \
      "$zone has. Received: type=$type" ;;
  esac
}

request_state() {
  run "${requests[@]}" describe "$name" "${where[@]}" \
    --format="value(state.state)" --quiet
}

wait_for_it() { # Until the queue has given the TPU out.
  local found="" before=""
  if [[ -n $dry_run ]]; then
    request_state
    return
  fi
  until [[ $found == ACTIVE ]]; do
    found=$(request_or_gone)
    [[ $found == "$before" ]] || say "the request for $name is $found"
    before=$found
    case $found in
      ACTIVE) ;;
      FAILED | SUSPEND* | GONE | DELETING)
        say "this tells why: ${requests[*]} describe $name ${where[*]}"
        return 1
        ;;
      # It waits for as long as it takes; Ctrl-C ends this script only.
      *) pause "$poll_seconds" ;;
    esac
  done
}

is_gone() {
  [[ $(state_or_gone) == GONE ]] &&
    [[ -z $queued || $(request_or_gone) == GONE ]]
}

delete_once() {
  local code
  run "$@" "$name" "${where[@]}" ${queued:+--force} --quiet && return
  code=$?
  # An answer may be lost after it was done.
  ! is_gone || return "$final"
  return "$code"
}

remove() {
  if [[ -n $queued ]]; then
    # With the TPU itself; suspended and failed requests hold quota.
    again delete_once "${requests[@]}" delete
  else
    again delete_once "${tpu[@]}" delete
  fi
}

delete() {
  local request
  remove || return
  [[ -z $dry_run ]] || return 0
  [[ -n $queued ]] || request=$(request_or_gone)
  if [[ -z $queued && $request != GONE && $request =~ ^[A-Z_]+$ ]]; then
    queued=yes
    say "its request is $request, and holds quota until you run: $(delete_it)"
  else
    say "$name in zone $zone of project $project is deleted."
  fi
}

copy() {
  local code=0
  check_checkout || return
  if [[ -n $dry_run ]]; then
    send "${TMPDIR:-/tmp}/tf_pcc-XXXXXX/tf_pcc.tar.gz"
    return
  fi
  temporary=$(mktemp -d "${TMPDIR:-/tmp}/tf_pcc-XXXXXX") || return
  send "$temporary/tf_pcc.tar.gz" || code=$?
  rm -rf "$temporary"
  temporary=""
  return "$code"
}

send() {
  local pack
  # git still lists what was deleted and not committed.
  # shellcheck disable=SC2016 # that bash is to expand it
  pack='cd "$1" && git ls-files -coz --exclude-standard |'\
' while IFS= read -rd "" f; do [[ ! -e $f ]] || printf "%s\0" "$f"; done |'\
' COPYFILE_DISABLE=1 tar --null -T - -czf "$2"'
  run bash -o pipefail -c "$pack" pack "$root" "$1" || return
  again run "${tpu[@]}" scp "$1" "$name:tf_pcc.tar.gz" "${where[@]}" --quiet \
    "${alive[@]/#/--scp-flag=}" --worker=all || return
  # What an earlier copy brought and this one does not is not left behind.
  on_workers all "mkdir -p tf_pcc && cd tf_pcc &&\
 { [ ! -e ../tf_pcc.copied ] || tr '\\n' '\\0' < ../tf_pcc.copied | xargs -0 rm -f --; } &&\
 tar xzvf ../tf_pcc.tar.gz > ../tf_pcc.copying && mv ../tf_pcc.copying ../tf_pcc.copied"
}

install() {
  # Ubuntu's Python comes without venv. tensorflow-text and this package depend
  # on plain tensorflow, which would replace tensorflow-tpu.
  on_workers all "cd tf_pcc 2> /dev/null ||\
 { echo 'copy comes before install' >&2; exit $final; };\
 flock -n train.lock true ||\
 { echo 'launch.train runs: stop it before install' >&2; exit $final; };\
 rm -f .venv/installed &&\
 { python3 -m venv .venv || { sudo apt-get -q update &&\
 sudo apt-get -qy install python3-venv && python3 -m venv .venv; }; } &&\
 .venv/bin/pip install -q tensorflow-tpu==$tensorflow libtpu==$libtpu\
 'keras>=3.10,<3.16' absl-py ml_collections scipy tqdm jiwer filelock\
 google-crc32c google-auth 'urllib3>=2' pyarrow &&\
 .venv/bin/pip install -q --no-deps tensorflow-text==$text -e ." || return
  # Only now is it known of all of them.
  on_workers 0 "touch tf_pcc/.venv/installed"
}

train() {
  local flags="" environment="" where_is_it=local flag code=0
  for flag in --workdir="$workdir" ${training[@]+"${training[@]}"}; do
    flags+=" $(printf '%q' "$flag")"
  done
  if [[ $hosts -gt 1 ]]; then
    # One program, on the first worker, drives the chips of all of them.
    where_is_it=$name environment="TPU_NAME=$name TPU_LOAD_LIBRARY=0 "
  fi
  # Only the last command may be in the background: a list would keep ssh open.
  # The lock is held as long as launch.train runs.
  # A chip has one process; who else has it is told by its device file.
  on_workers 0 "cd tf_pcc 2> /dev/null && [ -e .venv/installed ] ||\
 { echo 'copy and install come before run' >&2; exit $final; };\
 flock -n train.lock true ||\
 { echo 'launch.train runs already' >&2; exit $final; };\
 held=\$(sudo -n fuser /dev/accel* /dev/vfio/[0-9]* 2> /dev/null | xargs);\
 [ -z \"\$held\" ] || { echo \"the TPU is held by process \$held of this VM:\
 end it first\" >&2; exit $final; };\
 ${environment}nohup flock -nF train.lock .venv/bin/python -m\
 launch.train --tpu=$where_is_it --output_log=train.log$flags >> train.log 2>&1 < /dev/null &" ||
    code=$?
  # A connection may break after it has started what it was to start.
  if [[ $code == "$final" && $tried -gt 1 ]]; then
    [[ $(worker_state) != *running ]] || code=0
  fi
  return "$code"
}

build() { check_checkout && create && copy && install && train; }

state() {
  run "${tpu[@]}" describe "$name" "${where[@]}" --format="value(state)" --quiet
}

or_gone() { # The state, GONE if there is no such thing, or what went wrong.
  local complaint="" try
  for try in 1 2; do
    # In a trap a plain return has the status from before it.
    { complaint=$("$1" 2>&1 >&3) && return 0; } 3>&1
    case $complaint in
      *NOT_FOUND* | *"was not found"*) echo GONE && return 0 ;;
    esac
    [[ $try == 2 ]] || pause 1
  done
  echo "$complaint"
}

state_or_gone() { or_gone state; }

request_or_gone() { or_gone request_state; }

worker_state() { # running, idle, or empty where install has not ended.
  ask_workers 0 "cd tf_pcc 2> /dev/null || { echo empty; exit; };\
 flock -n train.lock true || { echo running; exit; };\
 [ ! -e .venv/installed ] || { echo idle; exit; }; echo empty"
}

# The end of a run writes summary.json, which a run with more steps removes at
# its first.
finished() {
  # In a subshell: what a trap says during it is not to go to /dev/null.
  (storage ls "$workdir/summary.json") > /dev/null 2>&1
}

starts=0 silent_polls=0 progress=""

may_start_again() { # Gives up where starting again and again is in vain.
  local newest
  newest=$(storage cat "$workdir/checkpoints/checkpoint" 2> /dev/null) || newest=$progress
  [[ $newest == "$progress" ]] || starts=0
  progress=$newest
  ((++starts <= most_starts)) || die "$most_starts starts in a row left no" \
    "new checkpoint; tpu_vm.sh status shows the end of the log."
}

unheard() { # Gives up on a TPU that is never ready; fails.
  say "$name $1"
  ((++silent_polls < most_silent_polls)) ||
    die "$name $1, $silent_polls times in a row."
  return 1
}

revive() { # Starts what does not run on a TPU that is there.
  local found
  found=$(worker_state) || found=""
  [[ -z $found ]] || silent_polls=0
  case ${found##*$'\n'} in
    running) ;;
    # It may have come to its end since that was asked.
    idle) finished || { may_start_again && train; } ;;
    empty) may_start_again && copy && install && train ;;
    *)
      # What runs there may well be running: nothing is started.
      unheard "did not answer"
      ;;
  esac
}

recover() { # Whether the run is on its way, or was brought on it.
  local found
  found=$(state_or_gone)
  case $found in
    READY) revive ;;
    PREEMPTED | TERMINATED | STOPPED) { remove || is_gone; } && build ;;
    GONE) ask_for_it ;;
    *) unheard "is not ready: $found" ;;
  esac
}

ask_for_it() { # Of a TPU that is not there, but for which there may be a request.
  local found=GONE
  [[ -z $queued ]] || found=$(request_or_gone)
  case $found in
    GONE) build ;;
    FAILED | SUSPENDED) { remove || is_gone; } && build ;;
    ACCEPTED | CREATING | PROVISIONING | WAITING_FOR_RESOURCES | ACTIVE)
      say "the request for $name is $found"
      wait_for_it && copy && install && train
      ;;
    *) unheard "has a request that is not ready: $found" ;;
  esac
}

resume() {
  if [[ -n $dry_run ]]; then
    # As for a TPU that was preempted.
    storage ls "$workdir/summary.json"
    state
    remove
    build
    return
  fi
  until finished && [[ $(worker_state 2> /dev/null) != *running ]]; do
    if recover; then
      [[ -n $watch ]] || return 0
    else
      [[ -n $watch ]] || return 1
      say "the next try is in $poll_seconds seconds"
    fi
    pause "$poll_seconds"
  done
  say "the run has ended: $workdir/summary.json is there; to go on with more" \
    "steps, delete that file."
}

status() {
  local found=READY
  if [[ -n $dry_run ]]; then
    [[ -z $queued ]] || request_state
    state
  else
    [[ -z $queued ]] || printf 'request: %s\n' "$(request_or_gone)"
    found=$(state_or_gone)
    printf 'TPU: %s\n' "$found"
  fi
  case $found in
    READY) on_workers 0 "tail -n 20 tf_pcc/train.log || exit $final" ;;
    # Where it is not ready there is no log to ask for.
    GONE | *[!A-Z_]*) return 1 ;;
  esac
}

case $command in
  create) create ;;
  copy) copy ;;
  install) install ;;
  run) train ;;
  status) status ;;
  resume) resume ;;
  stop)
    # Its own shell must not match: the program's name is not spelt out.
    on_workers 0 "pkill -TERM -f '[l]aunch.train' ||\
 { [ \$? != 1 ] || echo 'there is no run to stop' >&2; exit $final; }"
    ;;
  delete) delete ;;
  all) build ;;
esac

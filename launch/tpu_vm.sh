#!/usr/bin/env bash
# Creates, fills, runs and deletes a Cloud TPU VM or slice for launch.train.
#
#   launch/tpu_vm.sh all --project=P --zone=Z --type=v5litepod-8 \
#     --workdir=gs://BUCKET/runs/one -- \
#     --config=launch/configs/librispeech_conformer_ctc.py \
#     --config.data.train=gs://BUCKET/records/train
#
# create   makes the TPU VM (--spot: cheaper, may be preempted)
# copy     sends this checkout to every worker, with what is not committed and
#          without what git ignores
# install  makes the virtual environment on every worker
# run      starts launch.train with what is behind -- and comes back at once; it
#          goes on from the newest checkpoint in --workdir
# status   prints the TPU's state and the end of the log
# resume   brings a preempted run back: makes the TPU again if it is
#          gone, and runs; with --watch again and again until the run is done or
#          three starts in a row left no new checkpoint; end it before stop and
#          delete, which it would take for the cloud's
# stop     asks launch.train to save a checkpoint and end
# delete   deletes the TPU VM
# all      create, copy, install, run
#
# --dry_run prints every command and executes none. Nothing here was ever run
# against a real TPU: see launch/tpu.md.
set -euo pipefail

name=tf-pcc project="" zone="" type="" version="" workdir="" spot="" watch=""
dry_run="" training=()
tensorflow=2.19.1
text=2.19.0
poll_seconds=60
most_starts=3
most_silent_polls=60

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
    --spot) spot=yes ;;
    --watch) watch=yes ;;
    --dry_run) dry_run=yes ;;
    --help | -h) command=help ;;
    --)
      shift
      training=("$@")
      break
      ;;
    --name | --project | --zone | --type | --version | --workdir)
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
[[ -n $project ]] || die "--project must name a Google Cloud project." \
  "Received: project="
[[ -n $zone ]] || die "--zone must name a zone that has such TPUs, for" \
  "example us-central1-a. Received: zone="
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

# Chips of one host, and the software that Google's documentation names.
if [[ -n $type && ! $type =~ ^(v4|v5litepod|v5p|v6e)-[1-9][0-9]{0,4}$ ]]; then
  die "--type must be v4-N, v5litepod-N, v5p-N or v6e-N. Received: type=$type"
fi
size=${type##*-}
case $type in
  "") hosts=1 ;;
  v5litepod-* | v6e-*) hosts=$(((size + 7) / 8)) ;;
  *)
    # These are called by their cores: two a chip, four chips a host.
    ((size % 8 == 0)) || die "--type v4-N and v5p-N have N divisible by 8." \
      "Received: type=$type"
    hosts=$((size / 8))
    ;;
esac
if [[ -z $version ]]; then
  case $type in
    v5litepod-*) version=v2-alpha-tpuv5-lite ;;
    v5p-*) version=v2-alpha-tpuv5 ;;
    v6e-*) version=v2-alpha-tpuv6e ;;
    *) version="tpu-ubuntu2204-base" ;;
  esac
fi
if [[ $hosts -gt 1 && $version != *pod* ]]; then
  # TensorFlow reaches the other hosts through servers that only the images for
  # pods start; their TensorFlow must be the one that is installed. That there
  # is an image of this version has not been checked: --version names another.
  version=tpu-vm-tf-$tensorflow-pod-pjrt
fi

if [[ -z $dry_run ]] && ! command -v gcloud > /dev/null; then
  die "gcloud must be installed: https://cloud.google.com/sdk/docs/install"
fi
where=(--project="$project" --zone="$zone")
tpu=(gcloud compute tpus tpu-vm)
billed="A TPU that is still there is billed: launch/tpu_vm.sh delete \
--name=$name ${where[*]}"

# Each function below says itself where it ends: `set -e` is off in whatever is
# called as a condition.

on_workers() { # on_workers all|0 COMMAND
  run "${tpu[@]}" ssh "$name" "${where[@]}" --worker="$1" --command="$2"
}

create() {
  run "${tpu[@]}" create "$name" "${where[@]}" --accelerator-type="$type" \
    --version="$version" ${spot:+--spot}
}

remove() { run "${tpu[@]}" delete "$name" "${where[@]}" --quiet; }

copy() {
  local archive pack root
  root=$(cd "$(dirname "$0")/.." && pwd) || return
  archive=${TMPDIR:-/tmp}/tf_pcc-$name.tar.gz
  # git still lists what was deleted and not committed.
  # shellcheck disable=SC2016 # that bash is to expand it
  pack='cd "$1" && git ls-files -coz --exclude-standard |'\
' while IFS= read -rd "" f; do [[ ! -e $f ]] || printf "%s\0" "$f"; done |'\
' tar --null -T - -czf "$2"'
  run bash -o pipefail -c "$pack" pack "$root" "$archive" || return
  run "${tpu[@]}" scp "$archive" "$name:tf_pcc.tar.gz" "${where[@]}" \
    --worker=all || return
  on_workers all "mkdir -p tf_pcc && tar xzf tf_pcc.tar.gz -C tf_pcc"
}

install() {
  # Ubuntu's Python comes without venv. tensorflow-text and this package depend
  # on plain tensorflow, which would replace tensorflow-tpu.
  on_workers all "cd tf_pcc && rm -f .venv/installed &&\
 { python3 -m venv .venv || { sudo apt-get -q update &&\
 sudo apt-get -qy install python3-venv && python3 -m venv .venv; }; } &&\
 .venv/bin/pip install -q tensorflow-tpu==$tensorflow 'keras>=3.10' absl-py\
 ml_collections scipy tqdm jiwer filelock google-crc32c &&\
 .venv/bin/pip install -q --no-deps tensorflow-text==$text -e ." || return
  # Only now is it known of all of them.
  on_workers 0 "touch tf_pcc/.venv/installed"
}

train() {
  local flags="" environment="" where_is_it=local flag
  for flag in --workdir="$workdir" "${training[@]}"; do
    flags+=" $(printf '%q' "$flag")"
  done
  if [[ $hosts -gt 1 ]]; then
    # One program, on the first worker, drives the chips of all of them.
    where_is_it=$name environment="TPU_NAME=$name TPU_LOAD_LIBRARY=0 "
  fi
  # Only the last command may be in the background: a list would keep ssh open.
  # The lock is held as long as launch.train runs.
  on_workers 0 "cd tf_pcc || exit; flock -n train.lock true ||\
 { echo 'launch.train runs already' >&2; exit 1; };\
 ${environment}nohup flock -nF train.lock .venv/bin/python -m\
 launch.train --tpu=$where_is_it$flags >> train.log 2>&1 < /dev/null &"
}

build() { create && copy && install && train; }

state() {
  run "${tpu[@]}" describe "$name" "${where[@]}" --format="value(state)"
}

state_or_gone() { # The state, GONE if there is no such TPU, or what went wrong.
  local complaint
  state 2> /dev/null && return
  complaint=$(state 2>&1) || true
  case $complaint in
    *NOT_FOUND* | *"was not found"*) echo GONE ;;
    *) echo "$complaint" ;;
  esac
}

worker_state() { # running, idle, or empty where install has not ended.
  on_workers 0 "cd tf_pcc 2> /dev/null && [ -e .venv/installed ] ||\
 { echo empty; exit; }; flock -n train.lock echo idle || echo running"
}

# The end of a run writes summary.json, which a run with more steps removes at
# its first.
finished() { gcloud storage ls "$workdir/summary.json" > /dev/null 2>&1; }

starts=0 silent_polls=0 progress=""

may_start_again() { # Gives up where starting again and again is in vain.
  local newest
  newest=$(gcloud storage cat "$workdir/checkpoints/checkpoint" \
    2> /dev/null) || newest=$progress
  [[ $newest == "$progress" ]] || starts=0
  progress=$newest
  ((++starts <= most_starts)) || die "$most_starts starts in a row left no" \
    "new checkpoint; tpu_vm.sh status shows the end of the log. $billed"
}

unheard() { # Gives up on a TPU that is never ready; fails.
  say "$name $1"
  ((++silent_polls < most_silent_polls)) ||
    die "$name $1, $silent_polls times in a row. $billed"
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
    PREEMPTED | TERMINATED | STOPPED) remove && build ;;
    GONE) build ;;
    *) unheard "is not ready: $found" ;;
  esac
}

resume() {
  if [[ -n $dry_run ]]; then
    # As for a TPU that was preempted.
    run gcloud storage ls "$workdir/summary.json"
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
    sleep "$poll_seconds"
  done
  say "the run has ended: $workdir/summary.json is there; to go on with more" \
    "steps, delete that file. $billed"
}

case $command in
  create) create ;;
  copy) copy ;;
  install) install ;;
  run) train ;;
  status)
    state
    on_workers 0 "tail -n 20 tf_pcc/train.log"
    ;;
  resume) resume ;;
  stop) on_workers 0 "pkill -TERM -f '[l]aunch.train'" ;;
  delete) remove ;;
  all) build ;;
esac

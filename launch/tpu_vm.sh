#!/usr/bin/env bash
# Creates, fills, runs and deletes a Cloud TPU VM or slice for launch.train.
#
#   launch/tpu_vm.sh all --project=P --zone=Z --type=v5litepod-8 \
#     --workdir=gs://BUCKET/runs/one -- \
#     --config=launch/configs/librispeech_conformer_ctc.py \
#     --config.data.train=gs://BUCKET/records/train
#
# create   makes the TPU VM (--spot: cheaper, may be taken away)
# copy     sends this checkout to every worker
# install  makes the virtual environment on every worker
# run      starts launch.train with what is behind --; it goes on from the
#          newest checkpoint in --workdir
# status   prints the TPU's state and the end of the log
# resume   brings a run back that was taken away: makes the TPU anew if it is
#          gone, and runs; with --watch again and again until the run is done
# stop     asks launch.train to save a checkpoint and end
# delete   deletes the TPU VM
# all      create, copy, install, run
#
# --dry_run prints every command and executes none. Nothing here was ever run
# against a real TPU: see "Cloud TPU" in README.md.
set -euo pipefail

name=tf-pcc project="" zone="" type="" version="" workdir="" spot="" watch=""
dry_run="" training=()
tensorflow=2.19.1
text=2.19.0
poll_seconds=60

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }

die() {
  printf 'tpu_vm.sh: %s\n' "$*" >&2
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
    --workdir=*) workdir=${1#*=} ;;
    --spot) spot=yes ;;
    --watch) watch=yes ;;
    --dry_run) dry_run=yes ;;
    --)
      shift
      training=("$@")
      break
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
[[ -n $project ]] || die "--project must name a Google Cloud project." \
  "Received: project="
[[ -n $zone ]] || die "--zone must name a zone that has such TPUs, for example" \
  "us-central1-a. Received: zone="
needs() { [[ " $2 " == *" $command "* ]] || return 1; [[ -z $1 ]]; }
if needs "$type" "create resume all install run"; then
  die "--type must be an accelerator type, as launch.plan prints it, for" \
    "example v5litepod-8. Received: type="
fi
if needs "$workdir" "run resume all stop"; then
  die "--workdir must be a directory that outlives the TPU, gs://BUCKET/DIR." \
    "Received: workdir="
fi
if [[ -n $workdir && $workdir != gs://?* ]]; then
  die "--workdir must be in a bucket, gs://BUCKET/DIR: the disk of a TPU VM is" \
    "lost with it. Received: workdir=$workdir"
fi

# Chips of one host, and the software that Google's documentation names.
case $type in
  "") hosts=1 ;;
  v5litepod-* | v6e-*)
    chips=${type##*-}
    hosts=$(((chips + 7) / 8))
    ;;
  v4-* | v5p-*)
    chips=$((${type##*-} / 2))
    hosts=$(((chips + 3) / 4))
    ;;
  *) die "--type must be v4-N, v5litepod-N, v5p-N or v6e-N. Received: type=$type" ;;
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

where=(--project="$project" --zone="$zone")
tpu=(gcloud compute tpus tpu-vm)

on_workers() { # on_workers all|0 COMMAND
  run "${tpu[@]}" ssh "$name" "${where[@]}" --worker="$1" --command="$2"
}

create() {
  run "${tpu[@]}" create "$name" "${where[@]}" --accelerator-type="$type" \
    --version="$version" ${spot:+--spot}
}

copy() {
  local archive root
  root=$(cd "$(dirname "$0")/.." && pwd)
  archive=${TMPDIR:-/tmp}/tf_pcc-$name.tar.gz
  run git -C "$root" archive --format=tar.gz --output="$archive" HEAD
  run "${tpu[@]}" scp "$archive" "$name:tf_pcc.tar.gz" "${where[@]}" --worker=all
  on_workers all "mkdir -p tf_pcc && tar xzf tf_pcc.tar.gz -C tf_pcc"
}

install() {
  # tensorflow-text and this package depend on plain tensorflow, which would
  # replace tensorflow-tpu.
  on_workers all "cd tf_pcc && python3 -m venv .venv &&\
 .venv/bin/pip install -q tensorflow-tpu==$tensorflow 'keras>=3.10' absl-py\
 ml_collections scipy tqdm jiwer &&\
 .venv/bin/pip install -q --no-deps tensorflow-text==$text -e ."
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
  on_workers 0 "cd tf_pcc && ${environment}nohup .venv/bin/python -m\
 launch.train --tpu=$where_is_it$flags >> train.log 2>&1 < /dev/null &"
}

state() {
  run "${tpu[@]}" describe "$name" "${where[@]}" --format="value(state)"
}

resume() {
  local found=PREEMPTED
  if [[ -z $dry_run ]]; then
    found=$(state 2> /dev/null || echo GONE)
  else
    state
  fi
  case $found in
    READY)
      if [[ -z $(on_workers 0 "pgrep -f [l]aunch.train || true") ]]; then
        train
      fi
      ;;
    PREEMPTED | TERMINATED | STOPPED)
      run "${tpu[@]}" delete "$name" "${where[@]}" --quiet
      create && copy && install && train
      ;;
    GONE) create && copy && install && train ;;
    *) echo "tpu_vm.sh: $name is $found; waiting" >&2 ;;
  esac
}

# The end of a run writes summary.json.
finished() { gcloud storage ls "$workdir/summary.json" > /dev/null 2>&1; }

case $command in
  create) create ;;
  copy) copy ;;
  install) install ;;
  run) train ;;
  status)
    state
    on_workers 0 "tail -n 20 tf_pcc/train.log"
    ;;
  resume)
    resume
    while [[ -n $watch && -z $dry_run ]] && ! finished; do
      sleep "$poll_seconds"
      # No TPU may be had at once.
      resume || true
    done
    ;;
  stop) on_workers 0 "pkill -TERM -f [l]aunch.train" ;;
  delete) run "${tpu[@]}" delete "$name" "${where[@]}" --quiet ;;
  all)
    create
    copy
    install
    train
    ;;
esac

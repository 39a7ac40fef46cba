#!/usr/bin/env bash
# One run of training on two GPUs, from a checkpoint on, from parts that carry.py packed:
#
#   START=src/jina_embeddings/models/pocket bash training/run_two.sh
#
# The first GPU trains texts, then adapters; the second the vision tower, beside the texts on the model as it was, and then
# for a while on what the texts have made of it. The adapters see pages through the tower of the first part. Ends as soon
# as one of the two fails. SECONDS_A_RUN is for the texts; all takes about seven minutes more.
set -meuo pipefail  # m: each of the two in a group of its own, which ends as a whole
cd "$(dirname "$0")/.."
start=${START:?a checkpoint to start from} seconds=${SECONDS_A_RUN:-740} adapters=${ADAPTER_SECONDS:-55}
parts=${PARTS:-training/build/parts} work=${WORK:-training/build/work} out=${OUT:-training/build/out}
workers=$(($(nproc) / 2 - 2))
export PYTHONPATH=src PYTHONUNBUFFERED=1
mkdir -p "$work"
[ -d training/build/train ] || python3 training/carry.py unpack "$parts" .
trap 'for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done' EXIT

train() { # GPU, name, seed, options
  CUDA_VISIBLE_DEVICES=$1 python3 training/train.py --teacher training/build/teacher --start "$start" --work "$work/$2" \
    --seed "$3" --workers $((workers > 1 ? workers : 1)) ${COMPILE---compile} "${@:4}" >>"$work/$2.log" 2>&1
}

towers() {
  train 1 first 1 --stages vision --vision-seconds $((seconds - 40)) --span 0.4 0.7
  until [ -f "$work/text/student.safetensors" ]; do sleep 1; done
  mkdir -p "$work/second"
  cp "$work/text/student.safetensors" "$work/second/"
  train 1 second 2 --stages vision --vision-seconds $((4 * adapters)) --span 0.7 1 --tower "$work/first/student.safetensors"
}

towers &
train 0 text 1 --stages text,adapters --text-seconds "$seconds" --span 0.25 1 --head-seconds $((adapters / 2)) \
  --adapter-seconds "$adapters" --tower "$work/first/student.safetensors" &
wait -n
wait -n
train 0 text 1 --stages export --tower "$work/second/student.safetensors"
python3 training/carry.py pack "$out" "$work/text/checkpoint" "$work"/*/log.json --megabytes 15

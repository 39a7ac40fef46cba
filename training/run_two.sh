#!/usr/bin/env bash
# One run of training on two GPUs, from a checkpoint on, from parts that carry.py packed:
#
#   START=src/jina_embeddings/models/pocket bash training/run_two.sh
#
# The first GPU trains texts, then the head and the adapters of code and matching, while the second lets the vision tower
# learn the texts' new space; with that tower the adapter of retrieval, the last one, sees pages too. Ends as soon as one
# of the two fails. SECONDS_A_RUN is for the texts; all takes about eight minutes more. SECOND_GPU=0 does it on one GPU.
#
# OUT/text has the text model as soon as it is trained, OUT/checkpoint everything at the end, in files of 15 MB.
set -meuo pipefail  # m: each of the two in a group of its own, which ends as a whole
cd "$(dirname "$0")/.."
start=${START:?a checkpoint to start from} seconds=${SECONDS_A_RUN:-740} adapters=${ADAPTER_SECONDS:-55}
parts=${PARTS:-training/build/parts}
work=$(realpath -m "${WORK:-training/build/work}") out=$(realpath -m "${OUT:-training/build/out}") carry=$PWD/training/carry.py
cores=$(nproc)
export PYTHONPATH=src PYTHONUNBUFFERED=1
mkdir -p "$work"
[ -d training/build/train ] || python3 "$carry" unpack "$parts" .
trap 'for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done' EXIT

train() { # GPU, name, seed, options, among them how many processes make texts and draw pages
  CUDA_VISIBLE_DEVICES=$1 python3 training/train.py --teacher training/build/teacher --start "$start" --work "$work/$2" \
    --seed "$3" ${COMPILE---compile} "${@:4}" >>"$work/$2.log" 2>&1
}

keep() { # name, files and folders of WORK
  (cd "$work" && python3 "$carry" pack "$out/$1" "${@:2}" --megabytes 15)
}

tower() {
  until [ -f "$work/text/student.safetensors" ]; do sleep 1; done
  mkdir -p "$work/tower"
  cp "$work/text/student.safetensors" "$work/tower/"
  keep text tower/student.safetensors
  COMPILE= train "${SECOND_GPU:-1}" tower 2 --workers $((cores / 2 + 1)) --stages vision --vision-seconds $((3 * adapters)) --span 0.7 1
  cp "$work/tower/student.safetensors" "$work/tower.part"
  mv "$work/tower.part" "$work/tower.safetensors"
}

tower &
train 0 text 1 --workers $((cores > 4 ? cores - 2 : 2)) --stages text,head,adapters,export --text-seconds "$seconds" --span 0.25 1 --head-seconds $((adapters / 2)) \
  --tasks code text-matching retrieval --adapter-seconds "$adapters" --tower "$work/tower.safetensors" &
wait -n
wait -n
keep checkpoint text/checkpoint text/log.json tower/log.json

#!/usr/bin/env bash
# One run of training on two GPUs, from a checkpoint on, from parts that carry.py packed:
#
#   START=src/jina_embeddings/models/pocket bash training/run_two.sh
#
# The first GPU trains texts, then the head and the adapters of code and matching. The second trains the vision tower in
# the space of the start meanwhile, and lets it learn the texts' new one; with that tower the adapter of retrieval, the
# last one, sees pages too. Ends as soon as one of the two fails. SECONDS_A_RUN is for the texts; all takes about eight
# minutes more. SECOND_GPU=0 does it on one GPU, where the tower starts when the texts are done.
#
# OUT/text has the text model as soon as it is trained, OUT/checkpoint everything at the end, in files of 15 MB.
set -meuo pipefail  # m: each of the two in a group of its own, which ends as a whole
cd "$(dirname "$0")/.."
start=${START:?a checkpoint to start from} seed=${SEED:-1} second=${SECOND_GPU:-1}
seconds=${SECONDS_A_RUN:-740} adapters=${ADAPTER_SECONDS:-55}
parts=${PARTS:-training/build/parts}
work=$(realpath -m "${WORK:-training/build/work}") out=$(realpath -m "${OUT:-training/build/out}") carry=$PWD/training/carry.py
drawing=$(($(nproc) / 2 + 1)) # processes
making=$(($(nproc) - 2))
[ "$second" = 0 ] || making=$((making - drawing))
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
  before=()
  if [ "$second" != 0 ]; then
    COMPILE= train "$second" early $((seed + 2)) --workers $drawing --stages vision --span 0.4 0.8 \
      --vision-seconds $((seconds + 2 * adapters))
    before=(--tower "$work/early/student.safetensors")
  fi
  until [ -f "$work/text/student.safetensors" ]; do sleep 1; done
  mkdir -p "$work/tower"
  cp "$work/text/student.safetensors" "$work/tower/"
  keep text tower/student.safetensors
  COMPILE= train "$second" tower $((seed + 1)) --workers $drawing --stages vision --span 0.7 1 \
    --vision-seconds $((3 * adapters)) "${before[@]}"
  cp "$work/tower/student.safetensors" "$work/tower.part"
  mv "$work/tower.part" "$work/tower.safetensors"
}

tower &
train 0 text "$seed" --workers $((making > 2 ? making : 2)) --stages text,head,adapters,export \
  --text-seconds "$seconds" --span 0.25 1 --head-seconds $((adapters * 3 / 2)) \
  --tasks code text-matching retrieval --adapter-seconds "$adapters" --tower "$work/tower.safetensors" &
wait -n
wait -n
cd "$work"
keep checkpoint text/checkpoint ./*/log.json

#!/usr/bin/env bash
# One run of training from a checkpoint on, on GPUS (2) that train together, from parts that carry.py packed:
#
#   START=src/jina_embeddings/models/pocket bash training/run_on.sh
#
# Texts for SECONDS_A_RUN, the vision tower, the head, and each adapter for ADAPTER_SECONDS; reading the data and the rest
# take about three minutes more.
#
# OUT/text has the text model as soon as it is trained, OUT/checkpoint everything at the end, in files of 15 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
start=${START:?a checkpoint to start from} seed=${SEED:-1} gpus=${GPUS:-2}
seconds=${SECONDS_A_RUN:-740} tower=${TOWER_SECONDS:-300} adapters=${ADAPTER_SECONDS:-50}
parts=${PARTS:-training/build/parts}
work=$(realpath -m "${WORK:-training/build/work}") out=$(realpath -m "${OUT:-training/build/out}") carry=$PWD/training/carry.py
export PYTHONPATH=src PYTHONUNBUFFERED=1
mkdir -p "$work"
if [ -e "$work/student.safetensors" ]; then
  echo "$work holds what an earlier run left, which this one would go on from: choose another WORK" >&2
  exit 1
fi
[ -d training/build/train ] || python3 "$carry" unpack "$parts" .

keep() { # name, files and folders of WORK
  (cd "$work" && python3 "$carry" pack "$out/$1" "${@:2}" --megabytes 15)
}

keep_text() {
  until [ -f "$work/student.safetensors" ]; do sleep 1; done
  keep text student.safetensors
}

keep_text &
trap 'kill $! 2>/dev/null || true' EXIT
python3 -m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc-per-node "$gpus" -- training/train.py \
  --teacher training/build/teacher --start "$start" --work "$work" --seed "$seed" --compile \
  --workers $(($(nproc) / gpus - 1)) --stages text,vision,head,adapters,export \
  --text-seconds "$seconds" --text-span 0.25 1 --vision-seconds "$tower" --vision-span 0.7 1 \
  --head-seconds $((adapters * 3 / 2)) --tasks code text-matching retrieval --adapter-seconds "$adapters"
wait
keep checkpoint checkpoint log.json

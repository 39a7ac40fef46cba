#!/usr/bin/env bash
# One run of training that fits into a call of ten minutes, from parts that carry.py packed:
#
#   bash training/run.sh text 0 0.5     # the first half of the text stage; then: text 0.5 1, vision 0 1, adapters
#
# PARTS (training/build/parts) holds the data and is unpacked once; WORK (training/build/work) holds what earlier runs
# left. What a run leaves is packed into OUT in files of 15 MB: the student, or after the adapters the checkpoint.
set -euo pipefail
cd "$(dirname "$0")/.."
stage=${1:?usage: run.sh text|vision|adapters [FROM TO]}
parts=${PARTS:-training/build/parts} work=${WORK:-training/build/work} out=${OUT:-training/build/out}
seconds=${SECONDS_A_RUN:-480}
export PYTHONPATH=src PYTHONUNBUFFERED=1
[ -d training/build/train ] || python3 training/carry.py unpack "$parts" .
options=(--teacher training/build/teacher --work "$work")
case $stage in
  text) options+=(--stages text --text-seconds "$seconds" --text-span "${2:-0}" "${3:-1}") ;;
  vision) options+=(--stages vision --vision-seconds "$seconds" --vision-span "${2:-0}" "${3:-1}") ;;
  adapters) options+=(--stages head,adapters,export --head-seconds $((seconds / 8)) --adapter-seconds $((seconds * 7 / 24))) ;;
  *) echo "no stage $stage" >&2; exit 2 ;;
esac
python3 training/train.py "${options[@]}"
left=("$work/student.safetensors")
[ "$stage" = adapters ] && left=("$work/checkpoint")
python3 training/carry.py pack "$out" "${left[@]}" "$work/log.json" --megabytes 15

#!/bin/bash
# Trains the four teachers of configs/teachers one after the other. Run it again to go on where it stopped:
#
#     PYTHON=.venv/bin/python ARCHIVES="DIR DIR" DATA=DIR WEIGHTS=FILE RUNS=DIR setsid nohup ./teachers.sh &
#
# ARCHIVES: folders with labelled images, merged into DATA when that is not there. WEIGHTS: the backbone's.
# It may be killed at any moment; at most the epoch under way is lost. A second one at a time does nothing.
set -u
cd "$(dirname "$(readlink -f "$0")")" || exit 1
python=${PYTHON:-python} data=${DATA:?} weights=${WEIGHTS:?} runs=${RUNS:?}
mkdir -p "$runs"

exec 9> "$runs/teachers.lock"
flock -n 9 || { echo "teachers.sh runs already" >&2; exit 0; }

# A training step is 1.3 times as fast when malloc keeps large tensors.
export MALLOC_MMAP_MAX_=0 MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1 PYTHONUNBUFFERED=1

if [ ! -f "$data/index.csv" ]; then
    # shellcheck disable=SC2086  (several folders)
    "$python" -m train pool ${ARCHIVES:?} --out "$data" --trust-groups || exit 1
fi

for fold in 0 1 2 3; do
    run=$runs/teacher-$fold
    # The selected epoch is the last thing that is written into the record.
    if [ -f "$run/weights.safetensors" ] && grep -q '^  "epoch":' "$run/run.json"; then
        continue
    fi
    resume=()
    [ -f "$run/checkpoints/last.ckpt" ] && resume=(--resume)
    nice -n 10 "$python" -m train fit --data "$data" --out "$run" --config "configs/teachers/fold-$fold.yaml" \
        --weights "$weights" --devices 1 "${resume[@]}" >> "$run.log" 2>&1 < /dev/null || exit
done

#!/bin/bash
# Train the four teachers of configs/teachers, one after the other. The same command resumes them:
#
#     PYTHON=.venv/bin/python ARCHIVES="DIR DIR" DATA=DIR WEIGHTS=FILE RUNS=DIR train/distill/teachers.sh
#
# PYTHON    the interpreter (default: python)
# ARCHIVES  folders with labelled images; they are merged into DATA if DATA has no index.csv
# DATA      folder of the merged table
# WEIGHTS   weights of the backbone (.safetensors)
# RUNS      folder of the runs, RUNS/teacher-0 to RUNS/teacher-3
#
# Relative paths are relative to the root of the repository. If the script is killed, the current epoch is lost
# and no more. Only one copy runs for each RUNS folder; a second one ends at once.
set -u
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 1
python=${PYTHON:-python} data=${DATA:?} weights=${WEIGHTS:?} runs=${RUNS:?}
mkdir -p "$runs"

exec 9> "$runs/teachers.lock"
flock -n 9 || { echo "teachers.sh is already running for $runs" >&2; exit 0; }

# Without these settings malloc returns large tensors to the system, and a step takes 1.3 times as long.
export MALLOC_MMAP_MAX_=0 MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1 PYTHONUNBUFFERED=1

if [ ! -f "$data/index.csv" ]; then
    # shellcheck disable=SC2086  # several folders
    "$python" -m train merge ${ARCHIVES:?} --out "$data" --trust-groups || exit 1
fi

for fold in 0 1 2 3; do
    run=$runs/teacher-$fold
    # The record gets the number of the selected epoch last. It is null, or absent in 0.11.0, until then.
    if [ -f "$run/weights.safetensors" ] && grep -q '^  "epoch": [0-9]' "$run/run.json"; then
        continue
    fi
    resume=()
    [ -f "$run/checkpoints/last.ckpt" ] && resume=(--resume)
    nice -n 10 "$python" -m train fit --data "$data" --out "$run" --config "configs/teachers/fold-$fold.yaml" \
        --weights "$weights" --devices 1 "${resume[@]}" >> "$run.log" 2>&1 < /dev/null || exit
done

#!/bin/bash
# Trains the student of configs/student.yaml from the runs of teachers.sh: soft labels of eight views, then the
# network. Run it again to go on where it stopped:
#
#     PYTHON=.venv/bin/python DATA=DIR RUNS=DIR setsid nohup train/distill/student.sh > /dev/null 2>&1 &
#
# It may be killed at any moment; at most the file or epoch under way is lost. A second one at a time does nothing.
set -u
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 1
python=${PYTHON:-python}
: "${DATA:?the folder of the merged table}" "${RUNS:?the folder of the runs}"

exec 9> "$RUNS/student.lock"
flock -n 9 || { echo "student.sh runs already" >&2; exit 0; }
exec >> "$RUNS/student.log" 2>&1 < /dev/null

# See docs/training.md: a step takes three quarters of the time when malloc keeps large tensors.
export MALLOC_MMAP_MAX_=0 MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1 PYTHONUNBUFFERED=1

soft_labels() {
    out=$1
    shift
    [ -f "$out" ] && return
    nice -n 10 "$python" -m train soft-labels "$@" --data "$DATA" --out "$out.part" && mv "$out.part" "$out"
}

for fold in 0 1 2 3; do
    soft_labels "$RUNS/soft-$fold.npz" "$RUNS/teacher-$fold" --partial --views 8 || exit 1
done
soft_labels "$RUNS/soft.npz" "$RUNS"/soft-[0-3].npz || exit 1

resume=()
if [ -f "$RUNS/student/checkpoints/last.ckpt" ]; then
    resume=(--resume)
else
    rm -rf "$RUNS/student" # killed before its first checkpoint, if it is there at all
fi
echo "$(date '+%F %T') student ${resume[*]:-starts}"
nice -n 10 "$python" -m train fit --data "$DATA" --out "$RUNS/student" --config configs/student.yaml \
    --weights edgeskin/models/default --soft-labels "$RUNS/soft.npz" --devices 1 "${resume[@]}"
echo "$(date '+%F %T') student ended with status $?"

#!/bin/sh
# Train the models `first` and `first-dncnn` as they were: at the same time, one thread each, for the same minutes; then
# `first` for twice as long again, from where it was, at a lower rate.
#
#     benchmarks/models/train_first_models.sh [MINUTES]        (default 50; run again, it resumes)
#     .venv/bin/python -m benchmarks one_view_sets -o benchmarks/results --models training/first training/first-dncnn
#     .venv/bin/python -m benchmarks.models.ship_model training/first --figures benchmarks/results/one_view_sets.csv
#
# Needs the list of structures ../shared/data/structures/MANIFEST.tsv. Large pages and a heap that is not given back keep
# the page faults of big tensors, a third of a step, away.
cd "$(dirname "$0")/../.." || exit 1
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000
export OMP_NUM_THREADS=1
mkdir -p training
for model in first-start:polar-transformer first-dncnn:dncnn; do
    folder=training/${model%:*}
    resume=
    [ -f "$folder/resume/state.json" ] && resume=--resume
    .venv/bin/polardenoise train phantom:0-119 ../shared/data/structures/MANIFEST.tsv -o "$folder" \
        --architecture "${model#*:}" --minutes "${1:-50}" $resume >>"$folder.log" 2>&1 &
done
wait
resume=
[ -f training/first/resume/state.json ] && resume=--resume
.venv/bin/polardenoise train phantom:0-119 ../shared/data/structures/MANIFEST.tsv -o training/first \
    --recipe benchmarks/models/second_stage.json --init training/first-start/model \
    --minutes "$((2 * ${1:-50}))" $resume >>training/first.log 2>&1

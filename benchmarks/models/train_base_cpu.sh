#!/bin/sh
# Train `base` and `base-dncnn` on a CPU, one thread each:
#
#     benchmarks/models/train_base_cpu.sh        (run again, it resumes)
#
# base-start   a polar transformer that makes one pass, from nothing, 220 minutes
# base         from base-start, with two refinement passes, 1,300 steps (52 minutes)
# base-dncnn   beside them, 17 layers of 64 channels, from nothing, 120 minutes
#
# The shipped weights were trained by this recipe for 70 and 52 minutes, `base-dncnn` for 70, but began from two networks
# of polardenoise's first version, which had seen a narrower recipe for 150 and for 50 minutes and are no longer kept.
#
# Then `benchmarks/studies/acceptance.py` judges and `benchmarks/models/ship_model.py` ships, see docs/training.rst. Needs the list of
# structures ../shared/data/structures/MANIFEST.tsv. Large pages and a heap that is not given back keep the page faults of
# big tensors, a third of a step, away.
cd "$(dirname "$0")/../.." || exit 1
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000:glibc.malloc.top_pad=268435456
export OMP_NUM_THREADS=1
mkdir -p training

train() { # NAME OPTIONS...
    name=$1
    shift
    [ -f "training/$name/resume/state.json" ] && set -- "$@" --resume
    .venv/bin/polardenoise train phantom:0-119 ../shared/data/structures/MANIFEST.tsv -o "training/$name" "$@" \
        >>"training/$name.log" 2>&1
}

train base-dncnn --recipe benchmarks/models/base-dncnn_cpu.json --architecture dncnn --minutes 120 --compile &
train base-start --recipe benchmarks/models/base_cpu.json --minutes 220 &&
    train base --recipe benchmarks/models/base_matched_cpu.json --init training/base-start/model --steps 1300 \
        --seed "${SEED:-0}"
wait

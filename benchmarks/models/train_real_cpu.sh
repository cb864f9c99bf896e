#!/bin/sh
# What training images like real boxes are worth: the same network trained further on them, and beside it on the images of
# before, one thread each, the same 80 minutes:
#
#     INIT=base benchmarks/models/train_real_cpu.sh        (run again, it resumes)
#
# real       neighbours, ice, slopes, contrast that varies, wrong defoci, picks off the centre, the spectrum of real empty
#            boxes, most of it whitened with the network told so, cages of 12, 24 and 60 copies among the molecules
# control    the recipe of `base`
#
# Then `python -m benchmarks.models.compare_models` and `python -m benchmarks real --models ...` judge. Needs the list of
# structures ../shared/data/structures/MANIFEST.tsv; GLIBC_TUNABLES as in train_base_cpu.sh.
cd "$(dirname "$0")/../.." || exit 1
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000:glibc.malloc.top_pad=268435456
export OMP_NUM_THREADS=1
mkdir -p training

train() { # NAME SOURCES...
    name=$1
    shift
    if [ -f "training/$name/resume/state.json" ]; then set -- "$@" --resume; else set -- "$@" --init "${INIT:-base}"; fi
    nice -n 19 .venv/bin/polardenoise train "$@" ../shared/data/structures/MANIFEST.tsv -o "training/$name" \
        --recipe "benchmarks/models/${name}_cpu.json" --minutes 80 --seed 5 >>"training/$name.log" 2>&1
}

train control phantom:0-119 &
train real phantom:0-119 phantom:8000-8039
wait

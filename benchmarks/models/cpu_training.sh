# What the trainings on a CPU share; they read it by `. benchmarks/models/cpu_training.sh` from the repository's root.
#
# One thread each. Large pages and a heap that is not given back keep the page faults of big tensors, a third of a step,
# away. Needs the list of structures ../shared/data/structures/MANIFEST.tsv.
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000:glibc.malloc.top_pad=268435456
export OMP_NUM_THREADS=1
mkdir -p training

# Train training/NAME on phantoms and the list of structures, or go on with it.
train() { # NAME PHANTOMS OPTIONS...
    name=$1 phantoms=$2
    shift 2
    [ -f "training/$name/resume/state.json" ] && set -- "$@" --resume
    .venv/bin/polardenoise train "$phantoms" ../shared/data/structures/MANIFEST.tsv -o "training/$name" "$@" \
        >>"training/$name.log" 2>&1
}

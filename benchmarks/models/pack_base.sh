#!/bin/sh
# Pack what gpu_session.sh and train_base_gpu.sh need on a machine that has torch and nothing of ours, and reaches
# nothing outside.
#
#     benchmarks/models/pack_base.sh [MANIFEST.tsv]        (default ../shared/data/structures/MANIFEST.tsv)
#
# Into .carry, which git ignores: wheels/ (4 MB, for Python 3.12) and molecules/ (about 9 MB, a few minutes the first
# time): those of the standing training.
set -e
cd "$(dirname "$0")/../.."
manifest=${1:-../shared/data/structures/MANIFEST.tsv}
version() { sed -n "s/^$1==/$1==/p" constraints.txt; }
set --
for name in gemmi mrcfile msgspec torch-ctf torch-fourier-shift torch-grid-utils; do
    set -- "$@" "$(version $name)"
done
rm -rf .carry/wheels
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --platform manylinux1_x86_64 -d .carry/wheels "$@"
.venv/bin/python -m benchmarks.models.pack_structures "$manifest" phantom:0-119 phantom:8000-8039 -o .carry/molecules
du -sh .carry/wheels .carry/molecules

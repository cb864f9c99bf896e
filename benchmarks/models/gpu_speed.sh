#!/bin/sh
# The speed tables on a GPU machine that has torch and nothing of ours: run from the repository's root there.
#
#     benchmarks/models/gpu_speed.sh WHEELS OUT [smoke|full]
#
# WHEELS is a folder with the engine's libraries as wheels for that machine's Python, made where pip has a registry:
#
#     pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#         --platform manylinux_2_17_x86_64 --platform any -d WHEELS mrcfile safetensors gemmi \
#         torch-ctf torch-fourier-shell-correlation torch-fourier-shift torch-grid-utils \
#         einops scipy matplotlib
#
# Whole sets come first, on particles that are simulated there; then a GPU's own crossover of attention.
set -e
wheels=$1 out=$2 preset=${3:-full} work=${WORK:-training/speed}
python3 -m pip install --quiet --no-deps --no-index --find-links "$wheels" "$wheels"/*.whl
export PYTHONPATH=$PWD
mkdir -p "$out" "$work"
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader || true
[ -f "$work/particles.star" ] ||
    python3 -m polardenoise.engine simulate phantom:10001 -o "$work" --particles 100000 --snr 0.1 --no-ctf
for grouping in random neighbours; do
    python3 -m polardenoise.engine denoise "$work/particles.star" -o "$work/$grouping.star" --set-size 128 \
        --group-by $grouping --json "$out/denoise_$grouping.json" | tee "$out/denoise_$grouping.log"
    python3 -m polardenoise.engine evaluate "$work/$grouping.star" --truth "$work/clean.star" \
        --json "$out/evaluate_$grouping.json"
done
python3 -m benchmarks speed --preset "$preset" -o "$out/speed"

#!/bin/sh
# Train `base` and `base-dncnn` further on a CUDA machine that is there for ten minutes, both at the same time and for the
# same time: their learning rates fall to zero at its end.
#
#     benchmarks/models/train_base_gpu.sh OUT [MINUTES [first|second]]    (9 of training by default, half a minute more in all)
#
# `benchmarks/models/pack_base.sh` packs .carry before. `first` starts from the shipped models, with the recipes
# `base_gpu.json` and `base-dncnn_gpu.json`; `second` from what `first` gave (benchmarks/checkpoints/gpu and gpu-dncnn),
# with molecules deformed (`..._second_gpu.json`). OUT/models.tar then holds gpu and gpu-dncnn: model, history and what was
# said. For a test: CARRY, PYTHON, WORK and START, a folder with both models.
set -eu
out=$1 minutes=${2:-9} turn=${3:-first}
cd "$(dirname "$0")/../.."
carry=${CARRY:-.carry} python=${PYTHON:-python3} work=${WORK:-training/lent}
mkdir -p "$work" "$out"
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD" OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) > 4 ? 4 : 1))}
if [ -d "$carry/wheels" ]; then
    $python -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$work/site" "$carry"/wheels/*.whl
    PYTHONPATH="$PWD:$(realpath "$work")/site"
fi
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader 2>/dev/null || echo "no GPU"
processes=
for name in gpu gpu-dncnn; do
    shipped=base${name#gpu} recipe=base${name#gpu}_gpu.json start=$shipped
    if [ "$turn" = second ]; then
        recipe=base${name#gpu}_second_gpu.json start=benchmarks/checkpoints/$name
    fi
    [ -z "${START:-}" ] || start=$START/$name
    $python -m polardenoise.engine train "$carry/molecules/MANIFEST.tsv" -o "$work/$name" --init "$start" \
        --recipe "benchmarks/models/$recipe" --minutes "$minutes" --seed 11 >"$work/$name.log" 2>&1 &
    processes="$processes $!"
done
code=0
for process in $processes; do wait "$process" || code=$?; done
tail -n 6 "$work"/*.log
tar -c -C "$work" --exclude resume -f "$out/models.tar" gpu gpu-dncnn gpu.log gpu-dncnn.log || code=$?
ls -l "$out"
exit $code

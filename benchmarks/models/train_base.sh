#!/bin/sh
# Train `base` and `base-dncnn`, at the same time, on a machine that is lent for some minutes at a time.
#
#     benchmarks/models/train_base.sh MINUTES PAUSE_AFTER OUT
#
# MINUTES of training in all, for each of the two; this call stops after PAUSE_AFTER minutes of training. OUT then has
# training.tar.00, .01 ... (what the next call goes on from: copied to .carry/parts), models.tar (both model folders as
# they are) and the logs, each file below 16 MiB. `benchmarks/models/pack_base.sh` packs the rest of .carry; docs/training.rst
# has the whole sequence of calls.
#
# Other sizes, for a test: CARRY (default .carry), RECIPES (default benchmarks/models), PRESET, PYTHON, WORK and SECONDS_EACH.
set -eu
minutes=$1 pause_after=$2 out=$3
cd "$(dirname "$0")/../.."
carry=${CARRY:-.carry} recipes=${RECIPES:-benchmarks/models} python=${PYTHON:-python3} work=${WORK:-$PWD/training/lent}
mkdir -p "$work" "$out"
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD"
# Two trainings share the processor, which only draws parameters and starts kernels where there is a GPU.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) > 4 ? 4 : 1))}
if [ -d "$carry/wheels" ]; then
    $python -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$work/site" "$carry"/wheels/*.whl
    PYTHONPATH="$PWD:$work/site"
fi
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader 2>/dev/null || echo "no GPU"
if [ -d "$carry/parts" ]; then
    cat "$carry"/parts/training.tar.* | tar -x -C "$work"
fi

architecture_of() {
    case $1 in
    base) echo polar-transformer ;;
    base-dncnn) echo dncnn ;;
    esac
}

train() { # NAME
    architecture=$(architecture_of "$1")
    set -- "$1" "$carry/molecules/MANIFEST.tsv" --recipe "$recipes/$1.json" --preset "${PRESET:-base}" \
        --architecture "$architecture"
    name=$1
    shift
    options=
    [ -f "$work/$name/resume/state.json" ] && options=--resume
    grep -q '"compile": true' "$work/speed-$name.json" && options="$options --compile"
    $python -m polardenoise.engine train "$@" -o "$work/$name" --minutes "$minutes" --pause-after "$pause_after" \
        --json "$work/$name.json" $options
}

# Each alone on the machine, before the first training.
for name in base base-dncnn; do
    [ -f "$work/speed-$name.json" ] || $python -m benchmarks.models.train_base_speed "$carry/molecules/MANIFEST.tsv" \
        --recipe "$recipes/$name.json" --preset "${PRESET:-base}" --architecture "$(architecture_of $name)" \
        --seconds "${SECONDS_EACH:-6}" -o "$work/speed-$name.json"
done
train base >"$out/base.log" 2>&1 &
first=$!
train base-dncnn >"$out/base-dncnn.log" 2>&1 &
second=$!
code=0
sleep "${SECONDS_EACH:-60}"
nvidia-smi --query-gpu=memory.used,utilization.gpu --format=csv,noheader 2>/dev/null || true
wait $first || code=$?
wait $second || code=$?
tail -n 4 "$out/base.log" "$out/base-dncnn.log"
rm -f "$out"/training.tar.*
tar -c -C "$work" --exclude model $(cd "$work" && ls -d base base-dncnn speed-*.json) |
    split -b 15m -d -a 2 - "$out/training.tar."
tar -c -C "$work" -f "$out/models.tar" $(cd "$work" && ls -d base*/model base*/history.*) || code=$?
ls -l "$out"
exit $code

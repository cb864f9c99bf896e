#!/bin/sh
# One session on a CUDA machine that is there for ten minutes: the CUDA tests, the speed tables, and the standing training
# with what is left of the time. Run from the repository's root there; the machine has torch and nothing of ours.
#
#     benchmarks/models/gpu_session.sh OUT [MINUTES]        (default 9.5, all of it together)
#
# `benchmarks/models/pack_base.sh` packs .carry before. OUT then has at most eight files, each below 16 MiB:
#
#     session.tar.gz       what the tests and the trainings said, the speed tables
#     models.tar           the compact checkpoints: unpacked into benchmarks/checkpoints and committed, any machine goes on
#                          from them
#     training.tar.00 ..   weights, their average and the moments of AdamW: copied to .carry/parts, the next session goes on
#                          where this one was
#
# What was done is not done again by a session that goes on. PHASES ("tests speed training") leaves parts out, NAMES (default
# "base-next base-dncnn-next", trained at the same time) networks, SPEED (smoke, full or none) is the preset of the tables,
# PARTICLES (20000) the size of the whole set that is denoised. For a test: CARRY, PYTHON, WORK, STAGES, IMAGES, SECONDS_EACH and RESERVE.
set -eu
begun=$(date +%s)
out=$1 minutes=${2:-9.5}
cd "$(dirname "$0")/../.."
phases=${PHASES:-tests speed training} names=${NAMES:-base-next base-dncnn-next}
carry=${CARRY:-.carry} python=${PYTHON:-python3} work=${WORK:-training/lent}
end=$(echo "$begun $minutes ${RESERVE:-45}" | awk '{print int($1 + 60 * $2 - $3)}') # the reserve is for packing
mkdir -p "$work/said" "$work/kept" "$out"
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD"
# Two trainings share the processor, which only draws parameters and starts kernels where there is a GPU.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) > 4 ? 4 : 1))}
if [ -d "$carry/wheels" ]; then
    $python -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$work/site" "$carry"/wheels/*.whl
    PYTHONPATH="$PWD:$(realpath "$work")/site"
fi
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader 2>/dev/null || echo "no GPU"
[ ! -d "$carry/parts" ] || cat "$carry"/parts/training.tar.* | tar -x -C "$work"

left() { echo $((end - $(date +%s))); }

# A part that is asked for and has not been done: its share of the time that is left is its limit, and it may fail.
part() { # NAME PERCENT FUNCTION
    case " $phases " in *" $1 "*) ;; *) return 0 ;; esac
    [ ! -f "$work/said/$1.done" ] || return 0
    limit=$(($(left) * $2 / 100))
    [ "$limit" -gt 0 ] || return 0
    code=0
    $3 "$limit" >"$work/said/$1.log" 2>&1 || code=$?
    echo "$1: exit status $code, $(left) s left" | tee "$work/said/$1.done"
    tail -n 12 "$work/said/$1.log"
}

run_tests() { # SECONDS
    # Warnings of other versions of the libraries are no errors here.
    timeout "$1" $python -m pytest -m gpu tests/gpu -W default -p no:cacheprovider -v
}

make_speed_tables() { # SECONDS
    timeout "$1" sh -e -c '
        python=$1 work=$2 out=$3
        [ "${SPEED:-smoke}" = none ] || $python -m benchmarks speed --preset "${SPEED:-smoke}" -o "$out"
        mkdir -p "$out"
        $python -m polardenoise.engine simulate phantom:10001 -o "$work" --particles "${PARTICLES:-20000}" --snr 0.1 --no-ctf
        for grouping in random neighbours; do
            $python -m polardenoise.engine denoise "$work/particles.star" -o "$work/$grouping.star" --set-size 128 \
                --group-by $grouping --json "$out/denoise_$grouping.json"
            $python -m polardenoise.engine evaluate "$work/$grouping.star" --truth "$work/clean.star" \
                --json "$out/evaluate_$grouping.json"
        done
    ' sh "$python" "$work/set" "$work/said/tables"
}

standing() { # ACTION NAME OPTIONS...
    action=$1 name=$2
    shift 2
    $python -m benchmarks.models.standing "$action" --name "$name" --state "$work/state/$name" \
        --checkpoint "$work/kept/$name" ${STAGES:+--stages "$STAGES"} "$@"
}

train() { # NAME
    options="--images-per-step ${IMAGES:-512} --threads $OMP_NUM_THREADS --report-every ${SECONDS_EACH:-30}"
    ! grep -q '"compile": true' "$work/said/speed-$1.json" || options="$options --compile"
    standing train "$1" --sources "$carry/molecules/MANIFEST.tsv" \
        --minutes "$(left | awk '{print $1 / 60}')" $options >>"$work/said/$1.log" 2>&1
}

part tests 30 run_tests
part speed 50 make_speed_tables
code=0
case " $phases " in *" training "*)
    # Each alone on the machine, before the first training.
    for name in $names; do
        [ -d "$work/kept/$name" ] || [ ! -d "benchmarks/checkpoints/$name" ] ||
            cp -r "benchmarks/checkpoints/$name" "$work/kept/$name"
        [ -f "$work/said/speed-$name.json" ] || $python -m benchmarks.models.train_base_speed \
            "$carry/molecules/MANIFEST.tsv" --name "$name" ${STAGES:+--stages "$STAGES"} \
            --images-per-step "${IMAGES:-512}" --seconds "${SECONDS_EACH:-4}" -o "$work/said/speed-$name.json"
    done
    processes=
    for name in $names; do
        train "$name" &
        processes="$processes $!"
    done
    sleep "${SECONDS_EACH:-30}"
    nvidia-smi --query-gpu=memory.used,utilization.gpu --format=csv,noheader 2>/dev/null || true
    for process in $processes; do wait "$process" || code=$?; done
    for name in $names; do
        standing keep "$name" || true # a stage that has only begun has nothing to keep
        tail -n 4 "$work/said/$name.log"
    done
    rm -f "$out"/training.tar.*
    # A resumed stage needs neither the weights that it started from nor those kept: they are in its state and in models.tar.
    tar -c -C "$work" --exclude model --exclude 'state/*-start/weights.safetensors' \
        --exclude 'kept/*/weights.safetensors' state kept said | split -b 15m -d -a 2 - "$out/training.tar."
    tar -c -C "$work/kept" -f "$out/models.tar" . || code=$?
    ;;
esac
tar -c -z -C "$work" -f "$out/session.tar.gz" said
ls -l "$out"
exit $code

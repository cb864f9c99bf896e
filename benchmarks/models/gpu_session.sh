#!/bin/sh
# One session on a CUDA machine that is there for ten minutes: the CUDA tests and the speed tables. Run from the
# repository's root there; the machine has torch and nothing of ours. `train_base_gpu.sh` is a session of training.
#
#     benchmarks/models/gpu_session.sh OUT [MINUTES]        (default 9.5, all of it together)
#
# `benchmarks/models/pack_base.sh` packs .carry before. OUT then has session.tar.gz: what the tests said, and the
# tables.
#
# PHASES ("tests speed") leaves one of both out, SPEED (smoke, full or none) is the preset of the tables, PARTICLES
# (20000) the size of the whole set that is denoised. For a test: CARRY, PYTHON and WORK.
set -eu
begun=$(date +%s)
out=$1 minutes=${2:-9.5}
cd "$(dirname "$0")/../.."
phases=${PHASES:-tests speed} carry=${CARRY:-.carry} python=${PYTHON:-python3} work=${WORK:-training/lent}
end=$(echo "$begun $minutes" | awk '{print int($1 + 60 * $2 - 15)}') # a reserve for packing
mkdir -p "$work/said" "$out"
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD"
# So many threads as the tables of docs/speed.rst were measured with.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) > 4 ? 4 : 1))}
if [ -d "$carry/wheels" ]; then
    $python -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$work/site" "$carry"/wheels/*.whl
    PYTHONPATH="$PWD:$(realpath "$work")/site"
fi
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader 2>/dev/null || echo "no GPU"

left() { echo $((end - $(date +%s))); }

# A part that is asked for: its share of the time that is left is its limit, and it may fail.
part() { # NAME PERCENT FUNCTION
    case " $phases " in *" $1 "*) ;; *) return 0 ;; esac
    limit=$(($(left) * $2 / 100))
    [ "$limit" -gt 0 ] || return 0
    code=0
    $3 "$limit" >"$work/said/$1.log" 2>&1 || code=$?
    echo "$1: exit status $code, $(left) s left" >>"$work/said/$1.log"
    tail -n 13 "$work/said/$1.log"
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

part tests 50 run_tests
part speed 100 make_speed_tables
tar -c -z -C "$work" -f "$out/session.tar.gz" said
ls -l "$out"

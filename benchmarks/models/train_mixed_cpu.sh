#!/bin/sh
# From the middle between `base` and what it became on images like real boxes (train_real_cpu.sh), trained on with such
# images in two fifths of the sets and those of `base` in the rest, at a lower rate, one thread, 110 minutes:
#
#     benchmarks/models/train_mixed_cpu.sh        (run again, it resumes)
#
# Then `python -m benchmarks.models.compare_models` and `python -m benchmarks real --models ...` judge.
cd "$(dirname "$0")/../.." || exit 1
. benchmarks/models/cpu_training.sh
renice -n 19 $$ >/dev/null

[ -d training/between ] ||
    .venv/bin/python -m benchmarks.models.average_models base benchmarks/checkpoints/real -o training/between || exit 1
train mixed phantom:0-119,8000-8039 --recipe benchmarks/models/mixed_cpu.json --init training/between --minutes 110 --seed 9

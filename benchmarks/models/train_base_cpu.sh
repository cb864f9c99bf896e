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
# Then `benchmarks/studies/acceptance.py` judges and `benchmarks/models/ship_model.py` ships, see
# docs/training.rst.
cd "$(dirname "$0")/../.." || exit 1
. benchmarks/models/cpu_training.sh

train base-dncnn phantom:0-119 --recipe benchmarks/models/base-dncnn_cpu.json --architecture dncnn --minutes 120 --compile &
train base-start phantom:0-119 --recipe benchmarks/models/base_cpu.json --minutes 220 &&
    train base phantom:0-119 --recipe benchmarks/models/base_matched_cpu.json --init training/base-start/model \
        --steps 1300 --seed "${SEED:-0}"
wait

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
# Then `python -m benchmarks.models.compare_models` and `python -m benchmarks real --models ...` judge.
cd "$(dirname "$0")/../.." || exit 1
. benchmarks/models/cpu_training.sh
renice -n 19 $$ >/dev/null

set -- --init "${INIT:-base}" --minutes 80 --seed 5
train control phantom:0-119 --recipe benchmarks/models/control_cpu.json "$@" &
train real phantom:0-119,8000-8039 --recipe benchmarks/models/real_cpu.json "$@"
wait

"""Run one command of polardenoise in this process and say how long it took and how much memory it needed.

    python -m benchmarks.speed.measured_run denoise PARTICLES.star -o OUT.star

The clock starts after the libraries are loaded; reading the model counts. The last line of stdout is JSON.
"""

import json
import sys
import time

from benchmarks.common.timing import read_peak_memory
from polardenoise.engine.cli import main
from polardenoise.engine.denoise import pipeline  # noqa: F401  (loads what the command needs, before the clock starts)

if __name__ == "__main__":
    start = time.perf_counter()
    code = main(sys.argv[1:])
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_bytes": read_peak_memory()}), flush=True)
    sys.exit(code)

"""`make demo`: the main job through a real headless Scipion project, and a page of what came of it.

Nothing is fetched: the molecule is a phantom that no model was trained on, the model is the shipped one.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from headless import prepare_scipion, relion_is_here

DEMO = Path(__file__).resolve().parent
WORK, REPORT = DEMO / "work", DEMO / "report"

# Eight views, 64 particles of each view in each half: two full sets of 32 for the model.
SIMULATION = {
    "phantom": 10007,
    "numberOfParticles": 1024,
    "views": 8,
    "snr": 0.05,
    "doCTF": True,
    "seed": 1,
}


def main() -> int:
    """Run the job, make the report, say where it is."""
    start = time.monotonic()
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.rmtree(REPORT, ignore_errors=True)
    WORK.mkdir()
    prepare_scipion(WORK)
    with_relion = relion_is_here()
    if not with_relion:
        print("RELION is not here: its reconstructions are left out", flush=True)

    from report import make_report
    from workflow import run_workflow

    workflow = run_workflow("demo", SIMULATION, with_relion)
    page = make_report(workflow, SIMULATION, REPORT)
    print(f"{page} written; everything took {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

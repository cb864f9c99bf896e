"""Folders of the repository and of the data beside it."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINTS = REPOSITORY / "benchmarks" / "checkpoints"


def find_shared_data() -> Path:
    """Name the folder of real data, beside the repository or where `POLARDENOISE_SHARED_DATA` says."""
    shared = REPOSITORY.parent / "shared" / "data"
    return Path(os.environ.get("POLARDENOISE_SHARED_DATA", shared))


def find_structures() -> Path:
    """Name the folder of real structures."""
    return find_shared_data() / "structures"

"""Folders of the repository and of the data beside it."""

import os
from collections.abc import Sequence
from pathlib import Path

from polardenoise.engine.train.sources import read_splits

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINTS = REPOSITORY / "benchmarks" / "checkpoints"


def find_shared_data() -> Path:
    """Name the folder of real data, beside the repository or where `POLARDENOISE_SHARED_DATA` says."""
    shared = REPOSITORY.parent / "shared" / "data"
    return Path(os.environ.get("POLARDENOISE_SHARED_DATA", shared))


def find_structures() -> Path:
    """Name the folder of real structures."""
    return find_shared_data() / "structures"


def list_molecules(phantoms: Sequence[str], structures: Sequence[str]) -> list[str]:
    """Give phantoms and, of structures named by their files, those that are there."""
    found = [find_structures() / name for name in structures]
    return [*phantoms, *(str(path) for path in found if path.is_file())]


def list_structures_of(wanted: str) -> list[str]:
    """List the structures of a split; none where the shared data are not there."""
    manifest = find_structures() / "MANIFEST.tsv"
    splits = read_splits(manifest) if manifest.is_file() else {}
    return [str(path) for path, split in splits.items() if split == wanted]

"""Folders of the repository that tests look into."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "polardenoise"
BENCHMARKS = REPOSITORY / "benchmarks"

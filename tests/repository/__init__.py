"""Tests of the repository: imports, files, demo, pictures, other programs."""

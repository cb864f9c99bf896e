"""Benchmarks and studies of polardenoise; not installed, run as `python -m benchmarks`."""

"""Tests of files, progress and prefetching."""

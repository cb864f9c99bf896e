"""Tests of benchmarks and studies."""

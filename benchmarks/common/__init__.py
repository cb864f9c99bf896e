"""Parts that benchmarks share: tables, timing, sets of the studies."""

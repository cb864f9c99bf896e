"""Tests of particle sets on disk."""

"""Tests of 2D classes."""

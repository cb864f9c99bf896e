"""Tests of image formation and geometry."""

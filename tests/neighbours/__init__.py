"""Tests of related images."""

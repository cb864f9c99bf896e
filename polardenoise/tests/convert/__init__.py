"""Tests of the conversion between sets of Scipion and files of the engine."""

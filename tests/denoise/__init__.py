"""Tests of denoising whole sets."""

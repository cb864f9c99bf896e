"""Denoising of a whole particle set, from STAR file to STAR file."""

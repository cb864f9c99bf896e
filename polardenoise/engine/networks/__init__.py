"""Denoising networks, their layers, and their files."""

"""Noise: its colour, how images are made white for the network, and which of them show nothing else."""

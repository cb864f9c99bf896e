"""Particles of Parakeet, the multislice simulator: what it is given, and what comes back."""

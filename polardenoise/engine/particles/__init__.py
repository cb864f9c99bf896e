"""Particle sets on disk: STAR files, MRC stacks, and images brought to the network's box."""

"""Simulation of particle images of known molecules."""

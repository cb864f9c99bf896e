"""Tests of the protocol `select particles`: what is kept, and what its form takes and proposes."""

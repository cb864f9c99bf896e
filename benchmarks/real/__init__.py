"""Real particles: their sets, how estimates are held against the truth, semi-synthetic sets, pictures, tables."""

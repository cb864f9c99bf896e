"""2D classes and scores on simulated sets whose truth is known: averages, discrete views, junk."""
